/** mlx5_ib as a module: it binds to the adapter that is plugged in, and offers it to programs. */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { modulePut, tryModuleGet, type ModuleType } from '../../kernel/module.ts';
import { cleanupSrcuStruct } from '../../kernel/srcu.ts';
import { allocWorkqueue, destroyWorkqueue } from '../../kernel/workqueue.ts';
import { ibUverbs, type IbDeviceOps } from './ib-priv.ts';
import { mlx5IbDeregMr, mlx5IbRegUserMr } from './mlx5-mr.ts';
import { mlx5IbEqPfProcess, mlx5IbInvalidateRange } from './mlx5-odp.ts';
import { mlx5IbAdviseMr } from './mlx5-prefetch.ts';
import { globals, mlx5Ib, type Mlx5Version } from './mlx5-priv.ts';
import { theNic } from './nic.ts';
import { ibRegisterDevice, ibUnregisterDevice } from './uverbs.ts';

const { fn } = mlx5Ib;

const ops: IbDeviceOps = {
  invalidateRange: mlx5IbInvalidateRange,
  regUserMr: mlx5IbRegUserMr,
  deregMr: mlx5IbDeregMr,
  adviseMr: mlx5IbAdviseMr,
};

/** What init has taken goes; what it has not is NULL. */
const undo = fn(
  function* undo() {
    const data = globals();
    const { pageFaultWq, systemUnboundWq } = data;
    data.nic!.handler = null;
    if (pageFaultWq !== null) yield* destroyWorkqueue(pageFaultWq);
    if (systemUnboundWq !== null) yield* destroyWorkqueue(systemUnboundWq);
    yield* cleanupSrcuStruct(data.mrSrcu);
    yield* modulePut(ibUverbs.text);
  },
  { name: 'mlx5_ib_cleanup' },
);

/** The module of a version. Loaded after ib_uverbs, which it keeps. */
export function mlx5Module(version: Mlx5Version): ModuleType {
  const init = fn(function* mlx5IbInit() {
    // It needs symbols of the other.
    if (!(yield* tryModuleGet(ibUverbs.text))) return -EINVAL;
    const data = globals();
    data.version = version;
    data.nic = theNic();
    data.ibDev.ops = ops;
    data.pageFaultWq = yield* allocWorkqueue('mlx5_ib_page_fault');
    data.systemUnboundWq = yield* allocWorkqueue('events_unbound');
    let error = -ENOMEM;
    if (data.pageFaultWq !== null && data.systemUnboundWq !== null) {
      data.nic.handler = mlx5IbEqPfProcess;
      error = yield* ibRegisterDevice(data.ibDev);
    }
    if (error !== 0) yield* undo();
    return error;
  });
  const exit = fn(function* mlx5IbCleanup() {
    yield* ibUnregisterDevice(globals().ibDev);
    yield* undo();
  });
  return mlx5Ib.module({ data: globals, init, exit }) as unknown as ModuleType;
}

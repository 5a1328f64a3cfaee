/** mlx5_ib as a module: it binds to the adapter that is plugged in, and offers it to programs. */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { modulePut, tryModuleGet, type ModuleType } from '../../kernel/module.ts';
import { cleanupSrcuStruct } from '../../kernel/srcu.ts';
import { allocWorkqueue, destroyWorkqueue } from '../../kernel/workqueue.ts';
import { ibUverbs, type IbDeviceOps } from './ib-priv.ts';
import { mlx5IbEqPfProcess } from './mlx5-events.ts';
import { mlx5IbRegUserMr } from './mlx5-mr.ts';
import { mlx5IbAdviseMr } from './mlx5-prefetch.ts';
import { globals, mlx5Ib, type CountedVersion, type Mlx5Version } from './mlx5-priv.ts';
import { theNic } from './nic.ts';
import { ibRegisterDevice, ibUnregisterDevice } from './uverbs.ts';

const { fn } = mlx5Ib;

/** What programs and the core call, in a version. */
function opsOf({ paging }: Mlx5Version): IbDeviceOps {
  return { ...paging.ops, regUserMr: mlx5IbRegUserMr, adviseMr: mlx5IbAdviseMr };
}

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
export function mlx5Module(
  version: Mlx5Version,
  counted: CountedVersion | null = null,
): ModuleType {
  const ops = opsOf(version);
  const init = fn(function* mlx5IbInit() {
    // It needs symbols of the other.
    if (!(yield* tryModuleGet(ibUverbs.text))) return -EINVAL;
    const data = globals();
    data.version = version;
    data.counted = counted;
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

/**
 * mlx5's events of page faults: the adapter reports them, a work for each makes pages available and answers.
 *
 * Simplified: the memory pool of faults never runs dry.
 */
import { EAGAIN, EFAULT } from '../../base/errno.ts';
import { answerFault, nextFault, type DeviceFault } from '../../device/fault-queue.ts';
import { GFP_ATOMIC, GFP_NOFAIL } from '../../kernel/gfp.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { initWork, queueWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { globals, mlx5Ib, Mlx5IbPfault } from './mlx5-priv.ts';
import type { Nic } from './nic.ts';

const { fn } = mlx5Ib;

/** Answers one fault. A fault that raced with a notifier is to be tried again. */
const mlx5IbMrRdmaPfaultHandler = fn(function* mlx5IbMrRdmaPfaultHandler(pfault: Mlx5IbPfault) {
  const { nic, version } = globals();
  const { pagefault, readLock, readUnlock } = version!.paging;
  const range = { ioVirt: pfault.address, bcnt: 1, flags: 0 };
  const section = yield* readLock();
  const result = yield* pagefault(pfault.key, range, null);
  yield* readUnlock(section);
  const isResolved = result >= 0 || result === -EAGAIN;
  const fault = pfault.fault as DeviceFault;
  // mlx5_ib_page_fault_resume
  yield* answerFault(nic!.registers.faults, fault, isResolved ? 0 : -EFAULT);
});

const mlx5IbEqePfAction = fn(function* mlx5IbEqePfAction(work: WorkStruct) {
  const pfault = containerOf(work, Mlx5IbPfault, 'work');
  yield* mlx5IbMrRdmaPfaultHandler(pfault);
  yield* kfree(pfault);
});

/** Takes the faults that the adapter has reported. Called as by its interrupt: must not sleep. */
export const mlx5IbEqPfProcess = fn(function* mlx5IbEqPfProcess(nic: Nic) {
  for (;;) {
    const fault = yield* nextFault(nic.registers.faults);
    if (fault === null) return;
    // From a pool: there is always one.
    const pfault = (yield* kzalloc(Mlx5IbPfault, GFP_ATOMIC | GFP_NOFAIL))!;
    pfault.fault = fault;
    pfault.key = fault.request.space;
    pfault.address = fault.request.address;
    initWork(pfault.work, mlx5IbEqePfAction);
    yield* queueWork(globals().pageFaultWq!, pfault.work);
  }
});

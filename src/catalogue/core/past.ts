/**
 * Forms that the core had between its fixes: the nearest version that is modelled, with one safeguard changed,
 * named after the commit. They bear the kernel's names, so that the invariants are watched here, too.
 */
import { EINTR, ENOMEM } from '../../base/errno.ts';
import { fn } from '../../kernel/call.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import {
  hlistAddHeadRcu,
  hlistDelInitRcu,
  hlistDelRcu,
  hlistUnhashed,
  hlistUnhashedLockless,
} from '../../kernel/hlist.ts';
import type { Body } from '../../kernel/operation.ts';
import { downWrite, upWrite } from '../../kernel/rwsem.ts';
import { kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { srcuReadLock, srcuReadUnlock, synchronizeSrcu } from '../../kernel/srcu.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import { mmDropAllLocks, mmTakeAllLocks } from '../../mm-types/mm-take-all-locks.ts';
import {
  MmuNotifierMm,
  mmuNotifierMmOf,
  notifierSrcu,
  type MmuNotifier,
} from '../../mmu-notifier/mmu-notifier.ts';

/** Part of its caller, and not a function of its own: what it returns to is not the end of unregister. */
function* callRelease(mn: MmuNotifier, mm: MmStruct): Body<void> {
  const index = yield* srcuReadLock(notifierSrcu());
  const release = mn.ops!.release;
  if (release !== undefined) yield* release(mn, mm);
  yield* srcuReadUnlock(notifierSrcu(), index);
}

/** 3ad3d901bbcf: what was on the list before release is taken for being there after it. */
export const mmuNotifierUnregister3ad3d901bbcf = fn(
  function* mmuNotifierUnregister3ad3d901bbcf(mn: MmuNotifier, mm: MmStruct) {
    if (!(yield* hlistUnhashedLockless(mn.hlist))) {
      yield* callRelease(mn, mm);
      const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
      yield* spinLock(notifiers.lock);
      yield* hlistDelRcu(mn.hlist);
      yield* spinUnlock(notifiers.lock);
    }
    yield* synchronizeSrcu(notifierSrcu());
    yield* mmdrop(mm);
  },
  { name: 'mmu_notifier_unregister' },
);

/** 751efd8610d3: whoever unlinks calls release, so that it is called once; exit does not wait for it. */
export const mmuNotifierUnregister751efd8610d3 = fn(
  function* mmuNotifierUnregister751efd8610d3(mn: MmuNotifier, mm: MmStruct) {
    const notifiers = mmuNotifierMmOf(mm) as MmuNotifierMm;
    yield* spinLock(notifiers.lock);
    const isMine = !hlistUnhashed(mn.hlist);
    if (isMine) yield* hlistDelInitRcu(mn.hlist);
    yield* spinUnlock(notifiers.lock);
    if (isMine) yield* callRelease(mn, mm);
    yield* synchronizeSrcu(notifierSrcu());
    yield* mmdrop(mm);
  },
  { name: 'mmu_notifier_unregister' },
);

/** e0f3c3f78da2: allocates only when needed, but with all locks of the mm held. */
export const mmuNotifierRegisterE0f3c3f78da2 = fn(
  function* mmuNotifierRegisterE0f3c3f78da2(mn: MmuNotifier, mm: MmStruct) {
    yield* downWrite(mm.mmapSem);
    const error = yield* registerAllocatingLate(mn, mm);
    yield* upWrite(mm.mmapSem);
    return error;
  },
  { name: 'mmu_notifier_register' },
);

const registerAllocatingLate = fn(
  function* registerAllocatingLate(mn: MmuNotifier, mm: MmStruct) {
    if ((yield* mmTakeAllLocks(mm)) !== 0) return -EINTR;
    let notifiers = mmuNotifierMmOf(mm);
    if (notifiers === null) {
      notifiers = yield* kzalloc(MmuNotifierMm, GFP_KERNEL);
      if (notifiers === null) {
        yield* mmDropAllLocks(mm);
        return -ENOMEM;
      }
      mm.mmuNotifierMm = notifiers;
    }
    mn.mm = mm;
    mn.users = 1;
    yield* mmgrab(mm);
    yield* spinLock(notifiers.lock);
    yield* hlistAddHeadRcu(mn.hlist, notifiers.list);
    yield* spinUnlock(notifiers.lock);
    yield* mmDropAllLocks(mm);
    return 0;
  },
  { name: 'do_mmu_notifier_register' },
);

/**
 * gfn_to_pfn_cache: a page of the guest that the host itself writes to, without looking it up each time.
 *
 * A user of the cache takes `gpc.lock`, sees that it is valid, and writes; invalidation takes the lock and makes it
 * invalid. Making it valid cannot be done under the lock, since it looks a page up, which may sleep and may itself
 * cause an invalidation. What was invalidated meanwhile must be noticed when the lock is held again:
 *
 *     refresh                                     who changes the page table
 *     seq; hva_to_pfn: the page, as it is now
 *     racing form: nothing was invalidated
 *                                                 start: the cache is not valid: nothing to do there
 *                                                 the page is freed; end
 *     gpc.lock: valid from here on
 *
 * The mended form (58cd407ca4c6) asks under `gpc.lock`. It looks at the count of all ranges that are between start and
 * end, which is raised before the cache is invalidated, and not at that of the faults, which is raised after it.
 *
 * Simplified: a VM has one cache; the lock is no rwlock; nobody holds a reference to the page, in either form, as
 * from v5.19 on. Before, the page was pinned until the next refresh: what was written to it was lost all the same.
 */
import { EFAULT } from '../../base/errno.ts';
import { deviceStore } from '../../device/access.ts';
import { declareCoherence } from '../../device/coherence.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { awaitCondition, peek } from '../../kernel/await.ts';
import { dataRace, dataRaceWrite } from '../../kernel/field.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { srcuReadLock, srcuReadUnlock } from '../../kernel/srcu.ts';
import { putUserPage } from '../../mm/gup.ts';
import { PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import { pageToPfn, type Page } from '../../mm-types/page.ts';
import { globals, kvmModule, type GfnToPfnCache, type Kvm } from './kvm.ts';
import { gfnToHva, gfnToMemslot, kvmMemslots } from './memslot.ts';
import { hvaToPfn } from './page-fault.ts';

const { fn } = kvmModule;

/** Makes the cache invalid if it is of [start, end) of the program. */
export const gfnToPfnCacheInvalidateStart = fn(function* gfnToPfnCacheInvalidateStart(
  kvm: Kvm,
  start: number,
  end: number,
) {
  const { gpc } = kvm;
  // Stands for a list with a lock of its own.
  if (!(yield* dataRace(gpc, 'isActive'))) return;
  yield* spinLock(gpc.lock);
  if (gpc.isValid && gpc.uhva >= start && gpc.uhva < end) {
    gpc.isValid = false;
    yield* setDeviceEntry(gpc.khva, 0, null);
  }
  yield* spinUnlock(gpc.lock);
});

/** Maps the page, and drops the reference that the lookup took. `gpc.lock` is held. */
const publish = fn(
  function* publish(kvm: Kvm, { khva, uhva }: GfnToPfnCache, page: Page) {
    yield* setDeviceEntry(khva, 0, { pfn: pageToPfn(page), isWritable: true });
    const cpuPage = uhva / PAGE_SIZE;
    declareCoherence(khva, { first: 0, end: 1, cpuPage, mm: kvm.mm!, by: 'start' });
    yield* putUserPage(page);
  },
  { name: 'kvm_gfn_to_pfn_cache_refresh' },
);

/** v5.17: asks as a fault does, and publishes later. */
export const hvaToPfnRetryRacing = fn(
  function* hvaToPfnRetryRacing(kvm: Kvm, gpc: GfnToPfnCache) {
    const { uhva } = gpc;
    yield* spinUnlock(gpc.lock);
    let page: Page | number;
    for (;;) {
      const seq = yield* dataRace(kvm, 'mmuNotifierSeq');
      page = yield* hvaToPfn(kvm, uhva, true);
      if (typeof page === 'number') break;
      yield* spinLock(kvm.mmuLock);
      const isOld = yield* globals().version!.mmuNotifierRetry(kvm, seq, uhva);
      yield* spinUnlock(kvm.mmuLock);
      if (!isOld) break;
      yield* putUserPage(page);
      const { isHeldUp } = globals().version!;
      yield* awaitCondition('kvm.mmu_notifier_is_idle', () => !isHeldUp(kvm, uhva), [
        [kvm, 'mmuNotifierCount'],
      ]);
    }
    yield* spinLock(gpc.lock);
    if (typeof page === 'number') return -EFAULT;
    yield* publish(kvm, gpc, page);
    gpc.isValid = true;
    return 0;
  },
  { name: 'hva_to_pfn_retry' },
);

/** `mmu_notifier_retry_cache`: `gpc.lock` is held. */
const mmuNotifierRetryCache = fn(function* mmuNotifierRetryCache(kvm: Kvm, seq: number) {
  // Raised before gpc.lock is taken to invalidate, and lowered after the sequence has gone on.
  if ((yield* dataRace(kvm, 'mnActiveInvalidateCount')) > 0) return true;
  return (yield* dataRace(kvm, 'mmuNotifierSeq')) !== seq;
});

/** v5.19: asks with the lock held under which it publishes. */
export const hvaToPfnRetry = fn(function* hvaToPfnRetry(kvm: Kvm, gpc: GfnToPfnCache) {
  const { uhva } = gpc;
  for (;;) {
    gpc.isValid = false;
    const seq = yield* dataRace(kvm, 'mmuNotifierSeq');
    yield* spinUnlock(gpc.lock);
    const page = yield* hvaToPfn(kvm, uhva, true);
    yield* spinLock(gpc.lock);
    if (typeof page === 'number') return -EFAULT;
    if (!(yield* mmuNotifierRetryCache(kvm, seq))) {
      yield* publish(kvm, gpc, page);
      gpc.isValid = true;
      return 0;
    }
    yield* spinUnlock(gpc.lock);
    yield* putUserPage(page);
    // As a fault: see page-fault.ts.
    yield* awaitCondition('kvm.mn_is_inactive', () => peek(kvm, 'mnActiveInvalidateCount') === 0, [
      [kvm, 'mnActiveInvalidateCount'],
    ]);
    yield* spinLock(gpc.lock);
  }
});

/** `kvm_gfn_to_pfn_cache_refresh`: 0 or -EFAULT. In an SRCU section of the VM. May sleep. */
const kvmGfnToPfnCacheRefresh = fn(function* kvmGfnToPfnCacheRefresh(kvm: Kvm) {
  const { gpc } = kvm;
  const gfn = Math.floor(gpc.gpa / PAGE_SIZE);
  yield* mutexLock(gpc.refreshLock);
  yield* spinLock(gpc.lock);
  const slots = yield* kvmMemslots(kvm);
  const slot = gfnToMemslot(slots, gfn);
  let error = -EFAULT;
  if (slot === null) {
    gpc.isValid = false;
  } else {
    const uhva = gfnToHva(slot, gfn);
    const isOther = uhva !== gpc.uhva;
    gpc.generation = slots.generation;
    gpc.uhva = uhva;
    const { hvaToPfnRetry: lookUp } = globals().version!;
    error = gpc.isValid && !isOther ? 0 : yield* lookUp!(kvm, gpc);
  }
  yield* spinUnlock(gpc.lock);
  yield* mutexUnlock(gpc.refreshLock);
  return error;
});

/** The host writes a byte to the start of the page that the cache is of: 0 or -EFAULT. May sleep. */
export const kvmXenSetEvtchn = fn(function* kvmXenSetEvtchn(kvm: Kvm, byte: number) {
  const { gpc } = kvm;
  const index = yield* srcuReadLock(kvm.srcu);
  let result: number | null = null;
  while (result === null) {
    yield* spinLock(gpc.lock);
    const { generation } = yield* kvmMemslots(kvm);
    if (gpc.isValid && gpc.generation === generation) {
      const before = yield* deviceStore(gpc.khva, gpc.gpa % PAGE_SIZE, byte);
      result = Math.min(before, 0);
    }
    yield* spinUnlock(gpc.lock);
    if (result !== null) break;
    const error = yield* kvmGfnToPfnCacheRefresh(kvm);
    if (error !== 0) result = error;
  }
  yield* srcuReadUnlock(kvm.srcu, index);
  return result;
});

/** `kvm_gfn_to_pfn_cache_init`: from now on it is of the page at `gpa`. `slots_lock` is held. */
export const kvmGfnToPfnCacheInit = fn(function* kvmGfnToPfnCacheInit(kvm: Kvm, gpa: number) {
  const { gpc } = kvm;
  yield* spinLock(gpc.lock);
  gpc.gpa = gpa;
  gpc.isValid = false;
  yield* setDeviceEntry(gpc.khva, 0, null);
  yield* spinUnlock(gpc.lock);
  yield* dataRaceWrite(gpc, 'isActive', true);
});

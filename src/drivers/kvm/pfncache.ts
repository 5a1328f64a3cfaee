/**
 * gfn_to_pfn_cache: a page of the guest that the host itself writes to, without looking it up each time.
 *
 * A user of the cache takes `gpc.lock`, sees that it is valid, and writes; invalidation takes the lock and makes it
 * invalid. Making it valid cannot be done under the lock, since it looks a page up, which may sleep and may itself
 * cause an invalidation. v5.17 says that the cache is valid before it lets go of the lock, so that an invalidation
 * can say otherwise, and asks for the rest as a fault does:
 *
 *     refresh                                     who changes the page table
 *     valid, without a page yet
 *     seq; hva_to_pfn: the page, as it is now
 *                                                 start: no page in the cache, nothing to do there
 *     no range is counted, and the same seq
 *                                                 count++; the page is freed; end
 *     gpc.lock: the page
 *
 * and another user may find it valid meanwhile, and nothing there. The mended form (58cd407ca4c6, v5.19) leaves it
 * invalid, and asks under `gpc.lock`. It looks at the count of all ranges that are between start and end, which is
 * raised before the cache is invalidated, and not at that of the faults, which is raised after it.
 *
 * Not even that form is told when the mm ends: `release` is about SPTEs. Signals of an interrupt (KVM_IRQFD) may come
 * from who is not of the mm; see {@link kvmXenSetEvtchnFast}.
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
import { EWOULDBLOCK } from '../../kernel/module.ts';
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

/** `gpc.lock` is held. */
const unmap = fn(
  function* unmap(gpc: GfnToPfnCache) {
    gpc.khva = null;
    yield* setDeviceEntry(gpc.mapping, 0, null);
  },
  { name: 'gpc_unmap_khva' },
);

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
  // Without a page there is nothing to take away.
  if (gpc.isValid && gpc.khva !== null && gpc.uhva >= start && gpc.uhva < end) {
    gpc.isValid = false;
    yield* unmap(gpc);
  }
  yield* spinUnlock(gpc.lock);
});

/** Maps the page, and drops the reference that the lookup took. `gpc.lock` is held. */
const publish = fn(
  function* publish(kvm: Kvm, gpc: GfnToPfnCache, page: Page) {
    const { mapping, uhva } = gpc;
    yield* setDeviceEntry(mapping, 0, { pfn: pageToPfn(page), isWritable: true });
    const cpuPage = uhva / PAGE_SIZE;
    declareCoherence(mapping, { first: 0, end: 1, cpuPage, mm: kvm.mm!, by: 'start' });
    gpc.khva = mapping;
    yield* putUserPage(page);
  },
  { name: 'kvm_gfn_to_pfn_cache_refresh' },
);

/** v5.17: asks as a fault does, and publishes later. */
export const hvaToPfnRetryRacing = fn(
  function* hvaToPfnRetryRacing(kvm: Kvm, gpc: GfnToPfnCache) {
    const { uhva } = gpc;
    yield* unmap(gpc);
    // An invalidation is to say otherwise.
    gpc.isValid = true;
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
    if (typeof page === 'number') {
      gpc.isValid = false;
      return -EFAULT;
    }
    // It may not be valid any more.
    yield* publish(kvm, gpc, page);
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
  const { hvaToPfnRetry: lookUp, refreshesAlone = false } = globals().version!;
  if (refreshesAlone) yield* mutexLock(gpc.refreshLock);
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
    error = gpc.isValid && !isOther ? 0 : yield* lookUp!(kvm, gpc);
  }
  yield* spinUnlock(gpc.lock);
  if (refreshesAlone) yield* mutexUnlock(gpc.refreshLock);
  return error;
});

/**
 * Writes a byte to the start of the page if the cache is valid: 0, or -EWOULDBLOCK. In any context, and by anybody: an
 * eventfd that is bound to the VM (KVM_IRQFD) is signalled by whoever has it, which need not be of the VM's mm.
 */
export const kvmXenSetEvtchnFast = fn(function* kvmXenSetEvtchnFast(kvm: Kvm, byte: number) {
  const { gpc } = kvm;
  const index = yield* srcuReadLock(kvm.srcu);
  yield* spinLock(gpc.lock);
  const { generation } = yield* kvmMemslots(kvm);
  const isUsable = gpc.isValid && gpc.generation === generation;
  if (isUsable) yield* deviceStore(gpc.khva!, gpc.gpa % PAGE_SIZE, byte);
  yield* spinUnlock(gpc.lock);
  yield* srcuReadUnlock(kvm.srcu, index);
  return isUsable ? 0 : -EWOULDBLOCK;
});

/** The same by a thread of the VM's mm, which makes the cache valid if it has to: 0 or -EFAULT. May sleep. */
export const kvmXenSetEvtchn = fn(function* kvmXenSetEvtchn(kvm: Kvm, byte: number) {
  const index = yield* srcuReadLock(kvm.srcu);
  let error = yield* kvmXenSetEvtchnFast(kvm, byte);
  while (error === -EWOULDBLOCK) {
    error = yield* kvmGfnToPfnCacheRefresh(kvm);
    if (error === 0) error = yield* kvmXenSetEvtchnFast(kvm, byte);
  }
  yield* srcuReadUnlock(kvm.srcu, index);
  return error;
});

/** `kvm_gfn_to_pfn_cache_init`: from now on it is of the page at `gpa`. `slots_lock` is held. */
export const kvmGfnToPfnCacheInit = fn(function* kvmGfnToPfnCacheInit(kvm: Kvm, gpa: number) {
  const { gpc } = kvm;
  yield* spinLock(gpc.lock);
  gpc.gpa = gpa;
  gpc.isValid = false;
  yield* unmap(gpc);
  yield* spinUnlock(gpc.lock);
  yield* dataRaceWrite(gpc, 'isActive', true);
});

/**
 * mm_take_all_locks: every lock under which the mm may be in the middle of an invalidation.
 *
 * Who invalidates holds mmap_sem, or the i_mmap or anon_vma lock of a mapping, from start to end. With
 * mmap_sem held for write and all the others taken, no such section is open on this mm; so a notifier
 * that is added meanwhile never sees an end without its start.
 *
 * Modelled: the order (the global mutex, then all i_mmap locks, then all anon_vma locks), that a lock
 * shared by several mappings is taken once, -EINTR when a signal is pending before a mapping.
 * Simplified: one pass for file mappings instead of hugetlb ones first.
 */
import { EINTR } from '../base/errno.ts';
import { bugOn } from '../kernel/assertion.ts';
import { fn } from '../kernel/call.ts';
import { listForEachEntry } from '../kernel/list.ts';
import { mutex, mutexLock, mutexUnlock } from '../kernel/mutex.ts';
import { running } from '../kernel/running.ts';
import { downReadTrylock, downWriteNestLock, upWrite } from '../kernel/rwsem.ts';
import { signalPending } from '../kernel/signal.ts';
import { staticObject } from '../kernel/slab.ts';
import { struct } from '../kernel/struct.ts';
import { AnonVmaChain, rootOf, type AnonVma } from './anon-vma.ts';
import type { MmStruct } from './mm-struct.ts';
import type { VmArea } from './vma.ts';
import { vmaTreeFirst, vmaTreeNext } from './vma-tree.ts';

const Globals = struct('', { mmAllLocksMutex: mutex() });
const globals = staticObject(Globals);

/** The VMAs of the mm in order of address. The caller holds mmap_sem. */
export function vmas(mm: MmStruct): VmArea[] {
  const found: VmArea[] = [];
  let node = vmaTreeFirst(mm.mmRb);
  for (; node !== null; node = vmaTreeNext(node)) found.push(node.container as VmArea);
  return found;
}

/** The anon_vmas with the locks of all chain links of the VMA. */
function* anonVmaRoots(vma: VmArea): Iterable<AnonVma> {
  for (const link of listForEachEntry(vma.anonVmaChain, AnonVmaChain, 'sameVma')) {
    yield rootOf(link.anonVma!);
  }
}

/**
 * Takes them all. The caller holds mmap_sem for write. Returns 0, or -EINTR with nothing taken.
 * May sleep. Pairs with {@link mmDropAllLocks}.
 */
export const mmTakeAllLocks = fn(function* mmTakeAllLocks(mm: MmStruct) {
  bugOn(yield* downReadTrylock(mm.mmapSem), 'down_read_trylock(&mm->mmap_sem)');
  yield* mutexLock(globals(running).mmAllLocksMutex);
  for (const vma of vmas(mm)) {
    if (yield* signalPending()) return yield* giveUp(mm);
    const { mapping } = vma;
    if (mapping === null || mapping.isTaken) continue;
    yield* downWriteNestLock(mapping.iMmapRwsem, mm.mmapSem);
    mapping.isTaken = true;
  }
  for (const vma of vmas(mm)) {
    if (yield* signalPending()) return yield* giveUp(mm);
    for (const anonVma of anonVmaRoots(vma)) {
      if (anonVma.isTaken) continue;
      yield* downWriteNestLock(anonVma.rwsem, mm.mmapSem);
      anonVma.isTaken = true;
    }
  }
  return 0;
});

const giveUp = fn(
  function* giveUp(mm: MmStruct) {
    yield* mmDropAllLocks(mm);
    return -EINTR;
  },
  { name: 'mm_take_all_locks' },
);

/** Releases what {@link mmTakeAllLocks} took, or as far as it came. */
export const mmDropAllLocks = fn(function* mmDropAllLocks(mm: MmStruct) {
  for (const vma of vmas(mm)) {
    const { mapping } = vma;
    for (const anonVma of anonVmaRoots(vma)) {
      if (!anonVma.isTaken) continue;
      anonVma.isTaken = false;
      yield* upWrite(anonVma.rwsem);
    }
    if (mapping?.isTaken === true) {
      mapping.isTaken = false;
      yield* upWrite(mapping.iMmapRwsem);
    }
  }
  yield* mutexUnlock(globals(running).mmAllLocksMutex);
});

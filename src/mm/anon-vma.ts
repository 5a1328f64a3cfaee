/**
 * Making, sharing, copying and dropping anon_vmas: who may map which anonymous page.
 *
 * Modelled: a VMA gets its anon_vma at the first fault that needs an anonymous page, and shares that of a
 * neighbour with which it might be merged one day; fork gives the child links to all anon_vmas of the
 * parent and one of its own, or one that nobody's VMA uses any more; the last link frees it.
 * Simplified: links for a copy are allocated before the lock is taken, not partly under it.
 */
import { ENOMEM } from '../base/errno.ts';
import { bugOn } from '../kernel/assertion.ts';
import { atomicDecAndTest, atomicInc } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { smpLoadAcquire, smpStoreRelease } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import {
  intervalTreeEmpty,
  intervalTreeInsert,
  intervalTreeRemove,
} from '../kernel/interval-tree.ts';
import {
  listAdd,
  listDel,
  listEmpty,
  listForEachEntry,
  listForEachEntryReverse,
  listForEachEntrySafe,
  listIsSingular,
} from '../kernel/list.ts';
import { downWrite, upWrite } from '../kernel/rwsem.ts';
import { kfree, kzalloc } from '../kernel/slab.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import { AnonVma, AnonVmaChain, rootOf } from '../mm-types/anon-vma.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { VM_ACCESS_FLAGS, VM_IGNORE_MERGE } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { vmaNext, vmaPrevious } from './vma.ts';

/** The VMA of a chain link. */
export function vmaOfLink(link: AnonVmaChain): VmArea {
  return link.vma as VmArea;
}

/** Whether the VMA may map pages of an anon_vma that came by fork and is another's too. */
export function vmaHadUncowedParents(vma: VmArea): boolean {
  return vma.anonVma !== null && !listIsSingular(vma.anonVmaChain);
}

function parentOf(anonVma: AnonVma): AnonVma {
  return anonVma.parent as AnonVma;
}

const anonVmaAlloc = fn(function* anonVmaAlloc() {
  const anonVma = yield* kzalloc(AnonVma, GFP_KERNEL);
  if (anonVma !== null) {
    anonVma.root = anonVma;
    anonVma.parent = anonVma;
  }
  return anonVma;
});

/** `get_anon_vma(anon_vma)`: one more reference, for who has one. Pairs with {@link putAnonVma}. */
export const getAnonVma = fn(function* getAnonVma(anonVma: AnonVma) {
  yield* atomicInc(anonVma.refcount);
});

/** `put_anon_vma(anon_vma)`: the last reference frees it, and with it one to its root. */
export const putAnonVma = fn(function* putAnonVma(anonVma: AnonVma) {
  if (!(yield* atomicDecAndTest(anonVma.refcount))) return;
  const root = rootOf(anonVma);
  yield* kfree(anonVma);
  if (root !== anonVma && (yield* atomicDecAndTest(root.refcount))) yield* kfree(root);
});

/** Sets the range of a link's node to that of its VMA. The node is in no tree. */
function setLinkRange(link: AnonVmaChain, vma: VmArea): void {
  link.rb.start = vma.vmPgoff;
  link.rb.last = vma.vmPgoff + (vma.vmEnd - vma.vmStart) / PAGE_SIZE - 1;
}

/** Puts a new link into the VMA's list and the anon_vma's tree. The root is locked for write. */
function anonVmaChainLink(vma: VmArea, link: AnonVmaChain, anonVma: AnonVma): void {
  link.vma = vma;
  link.anonVma = anonVma;
  listAdd(link.sameVma, vma.anonVmaChain);
  setLinkRange(link, vma);
  intervalTreeInsert(link.rb, anonVma.rbRoot);
}

/** Takes the VMA out of all its trees before its bounds change. The root is locked for write. */
export function anonVmaTreesRemove(vma: VmArea): void {
  for (const link of listForEachEntry(vma.anonVmaChain, AnonVmaChain, 'sameVma')) {
    intervalTreeRemove(link.rb, link.anonVma!.rbRoot);
  }
}

/** Puts it back. Pairs with {@link anonVmaTreesRemove}. */
export function anonVmaTreesInsert(vma: VmArea): void {
  for (const link of listForEachEntry(vma.anonVmaChain, AnonVmaChain, 'sameVma')) {
    setLinkRange(link, vma);
    intervalTreeInsert(link.rb, link.anonVma!.rbRoot);
  }
}

/** Whether two adjacent VMAs might become one if their rights were the same. */
function couldBeOne(low: VmArea, high: VmArea): boolean {
  const difference = (low.vmFlags ^ high.vmFlags) & ~(VM_ACCESS_FLAGS | VM_IGNORE_MERGE);
  return (
    low.vmEnd === high.vmStart &&
    difference === 0 &&
    low.vmFile === high.vmFile &&
    high.vmPgoff === low.vmPgoff + (high.vmStart - low.vmStart) / PAGE_SIZE
  );
}

/**
 * A neighbour's anon_vma to share: the next one's, then the previous one's. Another fault may be giving the
 * neighbour one right now, without a common lock: what was linked before it became visible is.
 */
const findMergeableAnonVma = fn(function* findMergeableAnonVma(vma: VmArea) {
  const next = vmaNext(vma);
  if (next !== null && couldBeOne(vma, next)) {
    const anonVma = yield* smpLoadAcquire(next, 'anonVma');
    if (anonVma !== null && listIsSingular(next.anonVmaChain)) return anonVma;
  }
  const previous = vmaPrevious(vma);
  if (previous !== null && couldBeOne(previous, vma)) {
    const anonVma = yield* smpLoadAcquire(previous, 'anonVma');
    if (anonVma !== null && listIsSingular(previous.anonVmaChain)) return anonVma;
  }
  return null;
});

/**
 * `anon_vma_prepare(vma)`: makes sure that the VMA has an anon_vma, before its first anonymous page.
 * Returns 0 or -ENOMEM. mmap_sem is held for read: another fault may do the same at the same time.
 */
export const anonVmaPrepare = fn(function* anonVmaPrepare(vma: VmArea) {
  if ((yield* smpLoadAcquire(vma, 'anonVma')) !== null) return 0;
  return yield* anonVmaPrepareSlow(vma);
});

const anonVmaPrepareSlow = fn(
  function* anonVmaPrepareSlow(vma: VmArea) {
    let link = yield* kzalloc(AnonVmaChain, GFP_KERNEL);
    if (link === null) return -ENOMEM;
    let anonVma = yield* findMergeableAnonVma(vma);
    let allocated: AnonVma | null = null;
    if (anonVma === null) {
      anonVma = yield* anonVmaAlloc();
      if (anonVma === null) {
        yield* kfree(link);
        return -ENOMEM;
      }
      anonVma.numChildren = 1;
      allocated = anonVma;
    }
    const mm = vma.vmMm as MmStruct;
    yield* downWrite(rootOf(anonVma).rwsem);
    // Excludes other faults in this VMA, which may have chosen another anon_vma.
    yield* spinLock(mm.pageTableLock);
    if (vma.anonVma === null) {
      anonVmaChainLink(vma, link, anonVma);
      anonVma.numActiveVmas += 1;
      allocated = null;
      link = null;
      yield* smpStoreRelease(vma, 'anonVma', anonVma);
    }
    yield* spinUnlock(mm.pageTableLock);
    yield* upWrite(rootOf(anonVma).rwsem);
    if (allocated !== null) yield* putAnonVma(allocated);
    if (link !== null) yield* kfree(link);
    return 0;
  },
  { name: '__anon_vma_prepare' },
);

/** Whether `anonVma` has no VMA of its own any more, and at most one anon_vma below it. */
function isReusable(anonVma: AnonVma): boolean {
  return anonVma.numChildren < 2 && anonVma.numActiveVmas === 0;
}

/**
 * `anon_vma_clone(target, source)`: links the target to all anon_vmas of the source. If the target has
 * none of its own (fork), it may take over one that no VMA uses. Returns 0, or -ENOMEM with nothing
 * linked. mmap_sem is held for write; the target cannot be found by reverse map yet.
 */
export const anonVmaClone = fn(function* anonVmaClone(target: VmArea, source: VmArea) {
  const links: AnonVmaChain[] = [];
  for (const _ of listForEachEntry(source.anonVmaChain, AnonVmaChain, 'sameVma')) {
    const link = yield* kzalloc(AnonVmaChain, GFP_KERNEL);
    if (link === null) {
      for (const done of links) yield* kfree(done);
      // Not its own yet: nothing to count down for it.
      target.anonVma = null;
      return -ENOMEM;
    }
    links.push(link);
  }
  if (links.length === 0) return 0;
  const { rwsem } = rootOf(source.anonVma!);
  yield* downWrite(rwsem);
  for (const link of listForEachEntryReverse(source.anonVmaChain, AnonVmaChain, 'sameVma')) {
    const anonVma = link.anonVma!;
    anonVmaChainLink(target, links.pop()!, anonVma);
    if (target.anonVma === null && isReusable(anonVma)) target.anonVma = anonVma;
  }
  if (target.anonVma !== null) target.anonVma.numActiveVmas += 1;
  yield* upWrite(rwsem);
  return 0;
});

/**
 * `anon_vma_fork(child, parent)`: as {@link anonVmaClone}, and an anon_vma of its own for the pages that
 * the child will copy. Returns 0 or -ENOMEM. mmap_sem of both is held for write.
 */
export const anonVmaFork = fn(function* anonVmaFork(child: VmArea, parent: VmArea) {
  const above = parent.anonVma;
  if (above === null) return 0;
  child.anonVma = null;
  const error = yield* anonVmaClone(child, parent);
  if (error !== 0) return error;
  if (child.anonVma !== null) return 0;
  const anonVma = yield* anonVmaAlloc();
  const link = anonVma === null ? null : yield* kzalloc(AnonVmaChain, GFP_KERNEL);
  if (anonVma === null || link === null) {
    if (anonVma !== null) yield* putAnonVma(anonVma);
    yield* unlinkAnonVmas(child);
    return -ENOMEM;
  }
  const root = rootOf(above);
  anonVma.root = root;
  anonVma.parent = above;
  anonVma.numActiveVmas = 1;
  // The lock is in the root: it must stay as long as any of its descendants.
  yield* getAnonVma(root);
  child.anonVma = anonVma;
  yield* downWrite(root.rwsem);
  anonVmaChainLink(child, link, anonVma);
  above.numChildren += 1;
  yield* upWrite(root.rwsem);
  return 0;
});

/**
 * `unlink_anon_vmas(vma)`: drops all links of a VMA whose pages are gone from the page tables, or were
 * moved. mmap_sem is held for write, or nobody can find the VMA by address.
 */
export const unlinkAnonVmas = fn(function* unlinkAnonVmas(vma: VmArea) {
  if (listEmpty(vma.anonVmaChain)) return;
  let root: AnonVma | null = null;
  for (const link of listForEachEntrySafe(vma.anonVmaChain, AnonVmaChain, 'sameVma')) {
    const anonVma = link.anonVma!;
    if (root === null) {
      root = rootOf(anonVma);
      yield* downWrite(root.rwsem);
    }
    intervalTreeRemove(link.rb, anonVma.rbRoot);
    if (intervalTreeEmpty(anonVma.rbRoot)) {
      // Freed below: a root must not go before it is unlocked.
      parentOf(anonVma).numChildren -= 1;
      continue;
    }
    listDel(link.sameVma);
    yield* kfree(link);
  }
  if (vma.anonVma !== null) {
    vma.anonVma.numActiveVmas -= 1;
    vma.anonVma = null;
  }
  yield* upWrite(root!.rwsem);
  for (const link of listForEachEntrySafe(vma.anonVmaChain, AnonVmaChain, 'sameVma')) {
    const anonVma = link.anonVma!;
    bugOn(anonVma.numActiveVmas !== 0, 'anon_vma->num_active_vmas');
    yield* putAnonVma(anonVma);
    listDel(link.sameVma);
    yield* kfree(link);
  }
});

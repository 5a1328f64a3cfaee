/**
 * What radeon_mn.c before and after patch 8 agree on: how buffers hang on a radeon_mn, and how they are let go of.
 */
import { EAGAIN, ENOMEM } from '../../base/errno.ts';
import { dataRace } from '../../kernel/field.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import {
  intervalTreeInsert,
  intervalTreeIterFirst,
  intervalTreeIterNext,
  intervalTreeRemove,
} from '../../kernel/interval-tree.ts';
import {
  listAdd,
  listDel,
  listEmpty,
  listFirstOrNull,
  listForEachEntry,
  listSpliceInit,
} from '../../kernel/list.ts';
import { mutexLock, mutexTrylock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kmalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifier,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { globals, radeon, RadeonBo, RadeonMn, RadeonMnNode } from './radeon.ts';
import { radeonBoReserve, radeonBoUnreserve, radeonBoWait, ttmBoValidate } from './radeon-ttm.ts';

const { fn } = radeon;

/** Whether the GPU has anything of the buffer. A buffer that is being bound right now does not count, as yet. */
export function isBoundNow(bo: RadeonBo) {
  // Without the reservation, as in radeon_mn.c: who binds it has looked the pages up and may know the old ones.
  return dataRace(bo, 'isBound');
}

/** Waits for the GPU and takes the buffer off it. May sleep. */
export const letGoOfBo = fn(
  function* letGoOfBo(bo: RadeonBo) {
    if (!(yield* isBoundNow(bo))) return;
    yield* radeonBoReserve(bo);
    yield* radeonBoWait(bo);
    yield* ttmBoValidate(bo, 'RADEON_GEM_DOMAIN_CPU');
    yield* radeonBoUnreserve(bo);
  },
  { name: 'radeon_mn_invalidate_range_start' },
);

/** All buffers of a node that the range hits. */
const letGoOfNode = fn(
  function* letGoOfNode(node: RadeonMnNode) {
    for (const bo of listForEachEntry(node.bos, RadeonBo, 'mnList')) yield* letGoOfBo(bo);
  },
  { name: 'radeon_mn_invalidate_range_start' },
);

/** The range is about to change: waits for the GPU and lets go. 0, or -EAGAIN with nothing done. No end is needed. */
export const radeonMnInvalidateRangeStart = fn(function* radeonMnInvalidateRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
) {
  const rmn = containerOf(mn, RadeonMn, 'mn');
  const isBlockable = mmuNotifierRangeBlockable(range);
  // The tree's ends are inclusive.
  const last = range.end - 1;
  if (isBlockable) yield* mutexLock(rmn.lock);
  else if (!(yield* mutexTrylock(rmn.lock))) return -EAGAIN;
  let error = 0;
  let it = intervalTreeIterFirst(rmn.objects, range.start, last);
  while (it !== null) {
    if (!isBlockable) {
      error = -EAGAIN;
      break;
    }
    const node = containerOf(it, RadeonMnNode, 'it');
    it = intervalTreeIterNext(it, range.start, last);
    yield* letGoOfNode(node);
  }
  yield* mutexUnlock(rmn.lock);
  return error;
});

/** Merges the nodes that overlap [start, last] into one, which is in no tree then; NULL if none does. */
const mergeNodes = fn(
  function* mergeNodes(rmn: RadeonMn, bo: RadeonBo, spare: RadeonMnNode | null) {
    let start = bo.userptr;
    let last = start + bo.pageCount * PAGE_SIZE - 1;
    let node = spare;
    for (;;) {
      const it = intervalTreeIterFirst(rmn.objects, start, last);
      if (it === null) break;
      const found = containerOf(it, RadeonMnNode, 'it');
      intervalTreeRemove(it, rmn.objects);
      start = Math.min(it.start, start);
      last = Math.max(it.last, last);
      if (node !== null) {
        listSpliceInit(node.bos, found.bos);
        yield* kfree(node);
      }
      node = found;
    }
    if (node !== null) {
      node.it.start = start;
      node.it.last = last;
    }
    return node;
  },
  { name: 'radeon_mn_register' },
);

/**
 * Hangs the buffer on `rmn`: 0, or -ENOMEM with nothing changed. Overlapping buffers get into one node. May sleep.
 */
export const radeonMnInsert = fn(
  function* radeonMnInsert(rmn: RadeonMn, bo: RadeonBo): Body<number> {
    const { allocatesFirst = false } = globals().userptr!;
    let spare: RadeonMnNode | null = null;
    if (allocatesFirst) {
      spare = yield* kmalloc(RadeonMnNode, GFP_KERNEL);
      if (spare === null) return -ENOMEM;
    }
    yield* mutexLock(rmn.lock);
    let node = yield* mergeNodes(rmn, bo, spare);
    if (node === null) {
      // Reclaim that the allocation enters may come to a page of this mm, and then to this lock.
      node = yield* kmalloc(RadeonMnNode, GFP_KERNEL);
      if (node === null) {
        yield* mutexUnlock(rmn.lock);
        return -ENOMEM;
      }
      node.it.start = bo.userptr;
      node.it.last = bo.userptr + bo.pageCount * PAGE_SIZE - 1;
    }
    bo.mn = rmn;
    listAdd(bo.mnList, node.bos);
    intervalTreeInsert(node.it, rmn.objects);
    yield* mutexUnlock(rmn.lock);
    return 0;
  },
  { name: 'radeon_mn_register' },
);

/** Takes the buffer off its node, and an empty node out of the tree. `rmn.lock` is held. */
export const radeonMnRemove = fn(
  function* radeonMnRemove(rmn: RadeonMn, bo: RadeonBo) {
    // With nobody else on the list this is its head.
    const head = listFirstOrNull(bo.mnList)!;
    listDel(bo.mnList);
    if (!listEmpty(head)) return;
    const node = containerOf(head, RadeonMnNode, 'bos');
    intervalTreeRemove(node.it, rmn.objects);
    yield* kfree(node);
  },
  { name: 'radeon_mn_unregister' },
);

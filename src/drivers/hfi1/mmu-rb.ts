/**
 * mmu_rb.c: a cache of ranges of one program's memory, with a notifier of its own.
 *
 *     insert        lock; not where there is one; tree, lru_list
 *     start         lock; each node that the range hits: if the owner agrees, out of the tree, to del_list; unlock; a
 *                   work. Returns 0 at once: what is in del_list stays pinned until the work comes
 *     work          takes del_list over, removes each
 *     evict         lock; from lru_list, if the owner agrees, out of the tree; unlock; removes each
 *     unregister    no callbacks any more; flushes the work; removes what is left
 *
 * A node is in one of: the tree and lru_list, del_list, a list of the caller's.
 */
import { EEXIST, EPERM } from '../../base/errno.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import {
  intervalTreeInsert,
  intervalTreeIterFirst,
  intervalTreeIterNext,
  intervalTreeRemove,
} from '../../kernel/interval-tree.ts';
import {
  listAdd,
  listAddTail,
  listDel,
  listFirstEntryOrNull,
  listForEachEntrySafe,
  listMove,
  listMoveTail,
} from '../../kernel/list.ts';
import type { Body } from '../../kernel/operation.ts';
import { refcountDecAndTest, refcountInc, refcountRead } from '../../kernel/refcount.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { flushWork, initWork, queueWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { ULONG_MAX } from '../../base/ulong.ts';
import { mmdrop, mmgrab, PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierRegisterV53 } from '../../mmu-notifier/before-series.ts';
import type {
  MmuNotifier,
  MmuNotifierOps,
  MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { globals, hfi1, MmuRbHandler, MmuRbNode, version, type MmuRbOps } from './hfi1-priv.ts';

const { fn } = hfi1;

/** The nodes that [start, last] hits. The lock is held; a node may be removed as it comes. */
function* overlapping(handler: MmuRbHandler, start: number, last: number): Generator<MmuRbNode> {
  let it = intervalTreeIterFirst(handler.root, start, last);
  while (it !== null) {
    const next = intervalTreeIterNext(it, start, last);
    yield containerOf(it, MmuRbNode, 'it');
    it = next;
  }
}

// ---- the notifier --------------------------------------------------------------------------------

/** Whether the node goes to del_list now; it is out of the tree then. The lock is held. */
const invalidateNode = fn(
  function* invalidateNode(handler: MmuRbHandler, node: MmuRbNode) {
    const leaves = yield* handler.ops!.invalidate(handler, node);
    if (!leaves) return false;
    intervalTreeRemove(node.it, handler.root);
    if (!version().countsNodes) {
      listMove(node.list, handler.delList);
      return true;
    }
    listDel(node.list);
    if (!(yield* refcountDecAndTest(node.refcount))) return false;
    listAdd(node.list, handler.delList);
    return true;
  },
  { name: 'mmu_notifier_range_start' },
);

/** Never sleeps, so it does not matter whether it may. */
const mmuNotifierRangeStart = fn(function* mmuNotifierRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
): Body<number> {
  const handler = containerOf(mn, MmuRbHandler, 'mn');
  let isAdded = false;
  yield* spinLock(handler.lock);
  for (const node of overlapping(handler, range.start, range.end - 1)) {
    if (yield* invalidateNode(handler, node)) isAdded = true;
  }
  yield* spinUnlock(handler.lock);
  if (isAdded) yield* queueWork(globals().wq!, handler.delWork);
  return 0;
});

const mnOpts: MmuNotifierOps = { invalidateRangeStart: mmuNotifierRangeStart };

/** The first node of del_list, taken out; or NULL. */
const takeDeleted = fn(
  function* takeDeleted(handler: MmuRbHandler) {
    yield* spinLock(handler.lock);
    const node = listFirstEntryOrNull(handler.delList, MmuRbNode, 'list');
    if (node !== null) listDel(node.list);
    yield* spinUnlock(handler.lock);
    return node;
  },
  { name: 'handle_remove' },
);

const handleRemove = fn(function* handleRemove(work: WorkStruct) {
  const handler = containerOf(work, MmuRbHandler, 'delWork');
  for (;;) {
    const node = yield* takeDeleted(handler);
    if (node === null) return;
    yield* handler.ops!.remove(handler, node);
  }
});

// ---- life ----------------------------------------------------------------------------------------

/** A cache for `mm`; NULL without memory, or if a signal came. May sleep. */
export const hfi1MmuRbRegister = fn(function* hfi1MmuRbRegister(mm: MmStruct, ops: MmuRbOps) {
  const handler = yield* kzalloc(MmuRbHandler, GFP_KERNEL);
  if (handler === null) return null;
  handler.ops = ops;
  handler.mm = mm;
  handler.mn.ops = mnOpts;
  initWork(handler.delWork, handleRemove);
  if ((yield* mmuNotifierRegisterV53(handler.mn, mm)) === 0) return handler;
  yield* kfree(handler);
  return null;
});

/** Takes all nodes out of the tree, to del_list, of which nobody else knows then. */
const emptyTree = fn(
  function* emptyTree(handler: MmuRbHandler) {
    yield* spinLock(handler.lock);
    for (const node of overlapping(handler, 0, ULONG_MAX)) {
      intervalTreeRemove(node.it, handler.root);
      listMove(node.list, handler.delList);
    }
    yield* spinUnlock(handler.lock);
  },
  { name: 'hfi1_mmu_rb_unregister' },
);

/** Ends a cache, with all that is in it. May sleep. */
export const hfi1MmuRbUnregister = fn(function* hfi1MmuRbUnregister(handler: MmuRbHandler) {
  const mm = handler.mm!;
  const { grabsAtUnregister } = version();
  if (grabsAtUnregister) yield* mmgrab(mm);
  // First, so that there are no callbacks; the notifier's pin of the mm goes with it.
  yield* mmuNotifierUnregister(handler.mn, mm);
  yield* flushWork(handler.delWork);
  yield* emptyTree(handler);
  for (;;) {
    const node = yield* takeDeleted(handler);
    if (node === null) break;
    yield* handler.ops!.remove(handler, node);
  }
  if (grabsAtUnregister) yield* mmdrop(mm);
  yield* kfree(handler);
});

// ---- nodes ---------------------------------------------------------------------------------------

/** Whether current may not use a cache that it has by a file of another process. */
function isForeign({ mm }: MmuRbHandler): boolean {
  return version().mm === 'of the notifier' && current().mm !== mm;
}

/** The node at `addr`, with the lock held; or NULL. */
function search(handler: MmuRbHandler, addr: number): MmuRbNode | null {
  for (const node of overlapping(handler, addr, addr + PAGE_SIZE - 1)) {
    if (node.addr === addr) return node;
  }
  return null;
}

/** Puts a node in: 0, -EEXIST where there is one, or -EPERM for somebody else's cache. Never sleeps. */
export const hfi1MmuRbInsert = fn(function* hfi1MmuRbInsert(
  handler: MmuRbHandler,
  node: MmuRbNode,
): Body<number> {
  if (isForeign(handler)) return -EPERM;
  yield* spinLock(handler.lock);
  const error = search(handler, node.addr) === null ? 0 : -EEXIST;
  if (error === 0) {
    node.it.start = node.addr;
    node.it.last = node.addr + PAGE_SIZE - 1;
    intervalTreeInsert(node.it, handler.root);
    listAddTail(node.list, handler.lruList);
  }
  yield* spinUnlock(handler.lock);
  return error;
});

/** Takes a node out and removes it. The caller sees to it that no callback has it. May sleep. */
export const hfi1MmuRbRemove = fn(function* hfi1MmuRbRemove(
  handler: MmuRbHandler,
  node: MmuRbNode,
) {
  if (isForeign(handler)) return;
  yield* spinLock(handler.lock);
  intervalTreeRemove(node.it, handler.root);
  listDel(node.list);
  yield* spinUnlock(handler.lock);
  yield* handler.ops!.remove(handler, node);
});

/** Whether a node may go, for another is to come. The lock is held. */
const mayGo = fn(
  function* mayGo(handler: MmuRbHandler, node: MmuRbNode): Body<boolean> {
    // One is the tree's own.
    if (version().countsNodes && (yield* refcountRead(node.refcount)) > 1) return false;
    return yield* handler.ops!.evict!(handler, node);
  },
  { name: 'hfi1_mmu_rb_evict' },
);

/** Removes up to `countMax` nodes, those that were used longest ago: how many. May sleep. */
export const hfi1MmuRbEvict = fn(function* hfi1MmuRbEvict(
  handler: MmuRbHandler,
  countMax: number,
): Body<number> {
  if (isForeign(handler)) return 0;
  const taken: MmuRbNode[] = [];
  yield* spinLock(handler.lock);
  for (const node of listForEachEntrySafe(handler.lruList, MmuRbNode, 'list')) {
    if (taken.length === countMax) break;
    if (!(yield* mayGo(handler, node))) continue;
    intervalTreeRemove(node.it, handler.root);
    listDel(node.list);
    taken.push(node);
  }
  yield* spinUnlock(handler.lock);
  for (const node of taken) {
    const isLast = !version().countsNodes || (yield* refcountDecAndTest(node.refcount));
    if (isLast) yield* handler.ops!.remove(handler, node);
  }
  return taken.length;
});

/** The node at `addr`, or NULL; from v6.5 on with a reference. Never sleeps. */
export const hfi1MmuRbGetFirst = fn(function* hfi1MmuRbGetFirst(
  handler: MmuRbHandler,
  addr: number,
): Body<MmuRbNode | null> {
  yield* spinLock(handler.lock);
  const node = search(handler, addr);
  if (node !== null) listMoveTail(node.list, handler.lruList);
  if (node !== null && version().countsNodes) yield* refcountInc(node.refcount);
  yield* spinUnlock(handler.lock);
  return node;
});

/** v6.5: drops a reference; the work removes what nobody uses any more. Never sleeps. */
export const hfi1MmuRbPut = fn(
  function* hfi1MmuRbPut(handler: MmuRbHandler, node: MmuRbNode) {
    if (!(yield* refcountDecAndTest(node.refcount))) return;
    yield* spinLock(handler.lock);
    listAdd(node.list, handler.delList);
    yield* spinUnlock(handler.lock);
    yield* queueWork(globals().wq!, handler.delWork);
  },
  { name: 'hfi1_mmu_rb_release' },
);

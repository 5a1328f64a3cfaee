/**
 * user_exp_rcv.c: memory that the adapter receives to (TIDs).
 *
 *     v5.3                     v5.5                        v6.2
 *                                                          a notifier for all of it, read_begin
 *     pins                     pins                        pins
 *     into the handler's tree  a notifier for the node     a notifier for the node
 *     programs the adapter     programs                    programs
 *                                                          read_retry: hit meanwhile? -EBUSY
 *
 * What is hit later stays programmed and pinned, until the program has asked which TIDs are invalid and frees them.
 */
import { EBUSY, EFAULT, EINVAL, ENOMEM, ENOSPC } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLock, mutexTrylock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmdrop, mmgrab, PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import {
  MMU_NOTIFY_UNMAP,
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { hfi, TID_COUNT } from './hfi.ts';
import {
  hfi1,
  TidRbNode,
  TidUserBuf,
  version,
  type Hfi1Filedata,
  type MmuRbHandler,
  type MmuRbNode,
  type MmuRbOps,
} from './hfi1-priv.ts';
import { hfi1MmuRbInsert, hfi1MmuRbRemove } from './mmu-rb.ts';
import { hfi1AcquireUserPages, hfi1ReleaseUserPages } from './user-pages.ts';

const { fn } = hfi1;

// ---- what the program is told --------------------------------------------------------------------

/** The TID is of no use any more. Never sleeps. */
const noteInvalid = fn(
  function* noteInvalid(node: TidRbNode) {
    if (node.freed) return;
    node.freed = true;
    const fd = node.fdata as Hfi1Filedata;
    yield* spinLock(fd.invalidLock);
    fd.invalidTids |= 1 << node.rcventry;
    yield* spinUnlock(fd.invalidLock);
  },
  { name: 'tid_rb_invalidate' },
);

/** `HFI1_IOCTL_TID_INVAL_READ`: the invalid TIDs, a bit for each, of which it has not told before. */
export const hfi1UserExpRcvInvalid = fn(function* hfi1UserExpRcvInvalid(fd: Hfi1Filedata) {
  yield* spinLock(fd.invalidLock);
  const invalid = fd.invalidTids;
  fd.invalidTids = 0;
  yield* spinUnlock(fd.invalidLock);
  return invalid;
});

/** Whose lock serialises invalidations of a node: whether it is held now. Not taken where it must not be waited for. */
const lockNode = fn(
  function* lockNode({ invalidateMutex }: TidRbNode, range: MmuNotifierRange): Body<boolean> {
    if (version().isMended && !mmuNotifierRangeBlockable(range)) {
      return yield* mutexTrylock(invalidateMutex);
    }
    yield* mutexLock(invalidateMutex);
    return true;
  },
  { name: 'tid_rb_invalidate' },
);

/** Whether a change of page tables is of interest: only munmap is, in the kernel's versions. */
function isOfInterest({ event }: MmuNotifierRange): boolean {
  return version().isMended || event === MMU_NOTIFY_UNMAP;
}

const tidRbInvalidate = fn(function* tidRbInvalidate(
  mni: MmuIntervalNotifier,
  range: MmuNotifierRange,
  _seq: number,
) {
  const node = containerOf(mni, TidRbNode, 'notifier');
  if (!isOfInterest(range)) return true;
  if (!(yield* lockNode(node, range))) return false;
  yield* noteInvalid(node);
  yield* mutexUnlock(node.invalidateMutex);
  return true;
});

const tidMnOps: MmuIntervalNotifierOps = { invalidate: tidRbInvalidate };

const tidCoverInvalidate = fn(function* tidCoverInvalidate(
  mni: MmuIntervalNotifier,
  range: MmuNotifierRange,
  seq: number,
) {
  const tidbuf = containerOf(mni, TidUserBuf, 'notifier');
  if (!isOfInterest(range)) return true;
  if (!version().isMended || mmuNotifierRangeBlockable(range)) {
    yield* mutexLock(tidbuf.coverMutex);
  } else if (!(yield* mutexTrylock(tidbuf.coverMutex))) {
    return false;
  }
  yield* mmuIntervalSetSeq(mni, seq);
  yield* mutexUnlock(tidbuf.coverMutex);
  return true;
});

const tidCoverOps: MmuIntervalNotifierOps = { invalidate: tidCoverInvalidate };

// ---- nodes ---------------------------------------------------------------------------------------

/** Who is charged for the page of a node that is not watched any more, if it is watched at all. */
function mmOf(node: TidRbNode): MmStruct {
  const { mm, tids } = version();
  const fd = node.fdata as Hfi1Filedata;
  if (mm !== 'of the notifier') return fd.mm!;
  return tids === 'interval' ? node.notifier.mm! : fd.tids!.mm!;
}

/** The adapter forgets the TID, the page is unpinned. Nobody watches the node. May sleep. */
const clearTidNode = fn(function* clearTidNode(node: TidRbNode, mm: MmStruct) {
  const { rcventry, page } = node;
  yield* setDeviceEntry(hfi().rcvArray, rcventry, null);
  withdrawCoherence(hfi().rcvArray, rcventry, rcventry + 1);
  yield* hfi1ReleaseUserPages(mm, page!);
  yield* kfree(node);
});

/** v5.3: the cache of TIDs. */
export const tidRbOps: MmuRbOps = {
  // There are as many as the adapter has entries.
  evict: null,
  remove: fn(
    function* tidRbRemove(_handler: MmuRbHandler, mmu: MmuRbNode) {
      const node = containerOf(mmu, TidRbNode, 'mmu');
      yield* clearTidNode(node, mmOf(node));
    },
    { name: 'cacheless_tid_rb_remove' },
  ),
  invalidate: fn(
    function* tidRbHandlerInvalidate(_handler: MmuRbHandler, mmu: MmuRbNode) {
      yield* noteInvalid(containerOf(mmu, TidRbNode, 'mmu'));
      // The program frees it.
      return false;
    },
    { name: 'tid_rb_invalidate' },
  ),
};

/** From here on changes are noticed: 0 or -errno. May sleep. */
const watchNode = fn(
  function* watchNode(fd: Hfi1Filedata, node: TidRbNode): Body<number> {
    if (version().tids === 'handler') return yield* hfi1MmuRbInsert(fd.tids!, node.mmu);
    const interval = { start: node.mmu.addr, length: PAGE_SIZE };
    return yield* mmuIntervalNotifierInsert(
      node.notifier,
      current().mm as MmStruct,
      interval,
      tidMnOps,
    );
  },
  { name: 'set_rcvarray_entry' },
);

/** Ends a TID. May sleep. */
const unprogram = fn(
  function* unprogram(fd: Hfi1Filedata, tid: number) {
    const entry = fd.entryToRb.get(tid);
    const node = entry.node!;
    entry.node = null;
    if (version().tids === 'handler') {
      yield* hfi1MmuRbRemove(fd.tids!, node.mmu);
      return;
    }
    const mm = mmOf(node);
    const { isMended } = version();
    if (isMended) yield* mmgrab(mm);
    // The notifier's pin of the mm goes with it.
    yield* mmuIntervalNotifierRemove(node.notifier);
    yield* clearTidNode(node, mm);
    if (isMended) yield* mmdrop(mm);
  },
  { name: 'unprogram_rcvarray' },
);

/** Pins the page and has the adapter receive to it: 0 or -errno. May sleep. */
const setRcvarrayEntry = fn(function* setRcvarrayEntry(
  fd: Hfi1Filedata,
  tid: number,
  vaddr: number,
): Body<number> {
  const mm = version().mm === 'of the notifier' ? (current().mm as MmStruct) : fd.mm!;
  const page = yield* hfi1AcquireUserPages(mm, vaddr);
  if (page === null) return -EFAULT;
  const node = yield* kzalloc(TidRbNode, GFP_KERNEL);
  let error = -ENOMEM;
  if (node !== null) {
    node.mmu.addr = vaddr;
    node.page = page;
    node.rcventry = tid;
    node.fdata = fd;
    error = yield* watchNode(fd, node);
  }
  if (node === null || error !== 0) {
    yield* hfi1ReleaseUserPages(mm, page);
    yield* kfree(node);
    return error;
  }
  const cpuPage = Math.floor(vaddr / PAGE_SIZE);
  declareCoherence(hfi().rcvArray, { first: tid, end: tid + 1, cpuPage, mm, by: 'pinned' });
  yield* setDeviceEntry(hfi().rcvArray, tid, { pfn: pageToPfn(page), isWritable: true });
  fd.entryToRb.get(tid).node = node;
  return 0;
});

/** From v6.2 on: sets it up unless it is hit meanwhile: 0 or -errno. May sleep. */
const setUpCovered = fn(
  function* setUpCovered(fd: Hfi1Filedata, tid: number, vaddr: number): Body<number> {
    const tidbuf = yield* kzalloc(TidUserBuf, GFP_KERNEL);
    if (tidbuf === null) return -ENOMEM;
    const mm = current().mm as MmStruct;
    const interval = { start: vaddr, length: PAGE_SIZE };
    let error = yield* mmuIntervalNotifierInsert(tidbuf.notifier, mm, interval, tidCoverOps);
    if (error === 0) {
      const seq = yield* mmuIntervalReadBegin(tidbuf.notifier);
      error = yield* setRcvarrayEntry(fd, tid, vaddr);
      // An invalidation that has begun may not have come to the notifier yet: ours waits for it.
      const { isMended } = version();
      if (isMended) yield* mmuIntervalNotifierRemove(tidbuf.notifier);
      yield* mutexLock(tidbuf.coverMutex);
      const isHit = mmuIntervalReadRetry(tidbuf.notifier, seq);
      yield* mutexUnlock(tidbuf.coverMutex);
      if (error === 0 && isHit) {
        yield* unprogram(fd, tid);
        error = -EBUSY;
      }
      if (!isMended) yield* mmuIntervalNotifierRemove(tidbuf.notifier);
    }
    yield* kfree(tidbuf);
    return error;
  },
  { name: 'hfi1_user_exp_rcv_setup' },
);

// ---- calls ---------------------------------------------------------------------------------------

/** An entry of the RcvArray that is free, or -ENOSPC. The lock is held. */
function freeEntry(fd: Hfi1Filedata): number {
  for (let tid = 0; tid < TID_COUNT; tid += 1) {
    if (fd.entryToRb.get(tid).node === null) return tid;
  }
  return -ENOSPC;
}

/**
 * `HFI1_IOCTL_TID_UPDATE`: a TID for the page at `vaddr`; -EINVAL without a context, -EFAULT, -ENOSPC, -ENOMEM, -EINTR,
 * -EEXIST, -EBUSY if the page has changed meanwhile. May sleep.
 */
export const hfi1UserExpRcvSetup = fn(function* hfi1UserExpRcvSetup(
  fd: Hfi1Filedata,
  vaddr: number,
): Body<number> {
  if (fd.sdma === null || vaddr % PAGE_SIZE !== 0) return -EINVAL;
  yield* mutexLock(fd.lock);
  const tid = freeEntry(fd);
  let error = tid;
  if (tid >= 0) {
    error = version().coversSetup
      ? yield* setUpCovered(fd, tid, vaddr)
      : yield* setRcvarrayEntry(fd, tid, vaddr);
  }
  yield* mutexUnlock(fd.lock);
  return error < 0 ? error : tid;
});

/** `HFI1_IOCTL_TID_FREE`: 0, or -EINVAL for no TID. May sleep. */
export const hfi1UserExpRcvClear = fn(function* hfi1UserExpRcvClear(
  fd: Hfi1Filedata,
  tid: number,
): Body<number> {
  if (!(tid >= 0 && tid < TID_COUNT)) return -EINVAL;
  yield* mutexLock(fd.lock);
  const isThere = fd.entryToRb.get(tid).node !== null;
  if (isThere) yield* unprogram(fd, tid);
  yield* mutexUnlock(fd.lock);
  return isThere ? 0 : -EINVAL;
});

/** The file goes: what there is of TIDs, if no handler does it. May sleep. */
export const hfi1UserExpRcvFree = fn(function* hfi1UserExpRcvFree(fd: Hfi1Filedata) {
  for (let tid = 0; tid < TID_COUNT; tid += 1) {
    if (fd.entryToRb.get(tid).node !== null) yield* unprogram(fd, tid);
  }
});

/**
 * amdgpu_mn: BOs hear of changes through a mirror of hmm (v5.3, v5.4).
 *
 *     CPU0 command submission                  CPU1 the mm changes
 *     looks the pages up, in an hmm_range      start: the range becomes invalid
 *     maps them on the GPU                       amn->lock for read
 *     amn->lock for write                        waits for the BO's fence
 *     valid? no: -EAGAIN, once more              amn->lock released
 *            yes: submits, adds the fence
 *     amn->lock released
 *
 * When the mm ends, release leaves everything to a work, and returns: the mm's pages are freed while the GPU may be at
 * them.
 */
import { EAGAIN, EINTR, ENOMEM } from '../../base/errno.ts';
import { dmaFenceWait } from '../../device/fence.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { hashAdd, hashDel, hashForEachPossible } from '../../kernel/hash-table.ts';
import {
  intervalTreeInsert,
  intervalTreeIterFirst,
  intervalTreeIterNext,
  intervalTreeRemove,
  type IntervalTreeNode,
} from '../../kernel/interval-tree.ts';
import {
  listAdd,
  listDel,
  listDelInit,
  listEmpty,
  listForEachEntry,
  listForEachEntrySafe,
  listSpliceInit,
} from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import {
  downRead,
  downReadTrylock,
  downWrite,
  downWriteKillable,
  upRead,
  upWrite,
} from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { initWork, scheduleWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { currentMm } from '../../mm-types/mm-struct.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import {
  HMM_RANGE_DEFAULT_TIMEOUT,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  hmmRangeRegister,
  hmmRangeUnregister,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
  type HmmMirror,
  type HmmMirrorOps,
  type HmmRange,
} from '../hmm/index.ts';
import { amdgpuAmdkfdEvictUserptr } from './amdgpu-amdkfd.ts';
import {
  amdgpu,
  AmdgpuBo,
  AmdgpuMn,
  AmdgpuMnNode,
  globals,
  type AmdgpuMnType,
  type AmdgpuMnVersion,
} from './amdgpu-priv.ts';

const { fn } = amdgpu;

// ---- callbacks -------------------------------------------------------------------------------------

/** `amdgpu_mn_read_lock`: false if it would have to wait, and must not. */
const amdgpuMnReadLock = fn(function* amdgpuMnReadLock(amn: AmdgpuMn, isBlockable: boolean) {
  if (!isBlockable) return yield* downReadTrylock(amn.lock);
  yield* downRead(amn.lock);
  return true;
});

/** Does to each BO of a node that the range meets what its type asks for. amn->lock is held for read. */
const invalidateNode = fn(
  function* invalidateNode(amn: AmdgpuMn, node: AmdgpuMnNode, update: MmuNotifierRange) {
    for (const bo of listForEachEntry(node.bos, AmdgpuBo, 'mnList')) {
      if (bo.end <= update.start || bo.userptr >= update.end) continue;
      if (amn.type === 'HSA') yield* amdgpuAmdkfdEvictUserptr(bo);
      else if (bo.fence !== null) yield* dmaFenceWait(bo.fence);
    }
  },
  { name: 'amdgpu_mn_invalidate_node' },
);

const amdgpuMnSyncPagetables = fn(function* amdgpuMnSyncPagetables(
  mirror: HmmMirror,
  update: MmuNotifierRange,
) {
  const amn = containerOf(mirror, AmdgpuMn, 'mirror');
  const isBlockable = mmuNotifierRangeBlockable(update);
  if (!(yield* amdgpuMnReadLock(amn, isBlockable))) return -EAGAIN;
  const last = update.end - 1;
  let it = intervalTreeIterFirst(amn.objects, update.start, last);
  let error = 0;
  while (it !== null && error === 0) {
    const node = containerOf(it, AmdgpuMnNode, 'it');
    it = intervalTreeIterNext(it, update.start, last);
    if (isBlockable) yield* invalidateNode(amn, node, update);
    else error = -EAGAIN;
  }
  yield* upRead(amn.lock);
  return error;
});

/** Forgets the mm. Its BOs are left without an mn. */
const amdgpuMnDestroy = fn(function* amdgpuMnDestroy(work: WorkStruct) {
  const amn = containerOf(work, AmdgpuMn, 'work');
  const adev = globals();
  yield* mutexLock(adev.mnLock);
  yield* downWrite(amn.lock);
  hashDel(amn.node);
  for (let it = firstOf(amn); it !== null; it = firstOf(amn)) {
    const node = containerOf(it, AmdgpuMnNode, 'it');
    for (const bo of listForEachEntrySafe(node.bos, AmdgpuBo, 'mnList')) {
      bo.mn = null;
      listDelInit(bo.mnList);
    }
    intervalTreeRemove(it, amn.objects);
    yield* kfree(node);
  }
  yield* upWrite(amn.lock);
  yield* mutexUnlock(adev.mnLock);
  yield* hmmMirrorUnregister(amn.mirror);
  yield* kfree(amn);
});

function firstOf(amn: AmdgpuMn): IntervalTreeNode | null {
  return intervalTreeIterFirst(amn.objects, 0, Number.MAX_SAFE_INTEGER);
}

/** A mirror cannot be unregistered from here, nor mn_lock be taken: a work does both, later. */
const amdgpuHmmMirrorRelease = fn(function* amdgpuHmmMirrorRelease(mirror: HmmMirror) {
  const amn = containerOf(mirror, AmdgpuMn, 'mirror');
  initWork(amn.work, amdgpuMnDestroy);
  yield* scheduleWork(amn.work);
});

const amdgpuHmmMirrorOps: HmmMirrorOps = {
  syncCpuDevicePagetables: amdgpuMnSyncPagetables,
  release: amdgpuHmmMirrorRelease,
};

// ---- finding and making ----------------------------------------------------------------------------

/** The mn of the calling process and a type, or a new one; -ENOMEM, -EINTR. mn_lock, mmap_sem held for write. */
const findOrMake = fn(
  function* findOrMake(type: AmdgpuMnType): Body<AmdgpuMn | ErrPtr> {
    const { mnHash } = globals();
    const mm = currentMm()!;
    const key = mm.address + (type === 'HSA' ? 1 : 0);
    for (const amn of hashForEachPossible(mnHash, AmdgpuMn, 'node', key)) {
      if (amn.mm === mm && amn.type === type) return amn;
    }
    const amn = yield* kzalloc(AmdgpuMn, GFP_KERNEL);
    if (amn === null) return errPtr(-ENOMEM);
    amn.mm = mm;
    amn.type = type;
    amn.mirror.ops = amdgpuHmmMirrorOps;
    const error = yield* hmmMirrorRegister(amn.mirror, mm);
    if (error !== 0) {
      yield* kfree(amn);
      return errPtr(error);
    }
    hashAdd(mnHash, amn.node, key);
    return amn;
  },
  { name: 'amdgpu_mn_get' },
);

/** `amdgpu_mn_get(adev, type)`. mn_lock comes before mmap_sem. May sleep. */
const amdgpuMnGet = fn(function* amdgpuMnGet(type: AmdgpuMnType): Body<AmdgpuMn | ErrPtr> {
  const { mnLock } = globals();
  const { mmapSem } = currentMm()!;
  yield* mutexLock(mnLock);
  if ((yield* downWriteKillable(mmapSem)) !== 0) {
    yield* mutexUnlock(mnLock);
    return errPtr(-EINTR);
  }
  const amn = yield* findOrMake(type);
  yield* upWrite(mmapSem);
  yield* mutexUnlock(mnLock);
  return amn;
});

/** Merges the nodes that a BO overlaps with, and adds it. amn->lock is held for write. */
function* insertBo(amn: AmdgpuMn, bo: AmdgpuBo, spare: AmdgpuMnNode): Body<void> {
  let start = bo.userptr;
  let last = bo.end - 1;
  let it = intervalTreeIterFirst(amn.objects, start, last);
  while (it !== null) {
    const old = containerOf(it, AmdgpuMnNode, 'it');
    start = Math.min(start, it.start);
    last = Math.max(last, it.last);
    intervalTreeRemove(it, amn.objects);
    listSpliceInit(old.bos, spare.bos);
    yield* kfree(old);
    it = intervalTreeIterFirst(amn.objects, start, last);
  }
  spare.it.start = start;
  spare.it.last = last;
  listAdd(bo.mnList, spare.bos);
  intervalTreeInsert(spare.it, amn.objects);
}

const amdgpuMnRegister = fn(function* amdgpuMnRegister(bo: AmdgpuBo) {
  const amn = yield* amdgpuMnGet(bo.type);
  if (isErr(amn)) return ptrErr(amn);
  const node = yield* kzalloc(AmdgpuMnNode, GFP_KERNEL);
  if (node === null) return -ENOMEM;
  yield* downWrite(amn.lock);
  bo.mn = amn;
  yield* insertBo(amn, bo, node);
  yield* upWrite(amn.lock);
  return 0;
});

const amdgpuMnUnregister = fn(function* amdgpuMnUnregister(bo: AmdgpuBo) {
  const { mnLock } = globals();
  yield* mutexLock(mnLock);
  const amn = bo.mn;
  if (amn === null) {
    yield* mutexUnlock(mnLock);
    return;
  }
  yield* downWrite(amn.lock);
  const it = intervalTreeIterFirst(amn.objects, bo.userptr, bo.end - 1)!;
  const node = containerOf(it, AmdgpuMnNode, 'it');
  bo.mn = null;
  listDel(bo.mnList);
  if (listEmpty(node.bos)) {
    intervalTreeRemove(it, amn.objects);
    yield* kfree(node);
  }
  yield* upWrite(amn.lock);
  yield* mutexUnlock(mnLock);
});

/** By mirrors. */
export const amdgpuMnMirror: AmdgpuMnVersion = {
  register: amdgpuMnRegister,
  unregister: amdgpuMnUnregister,
  lock: fn(function* amdgpuMnLock(bo: AmdgpuBo) {
    if (bo.mn !== null) yield* downWrite(bo.mn.lock);
  }),
  unlock: fn(function* amdgpuMnUnlock(bo: AmdgpuBo) {
    if (bo.mn !== null) yield* upWrite(bo.mn.lock);
  }),
  mmOf: (bo) => bo.mn?.mm ?? null,
  beginRange: fn(
    function* beginRange(bo: AmdgpuBo, range: HmmRange) {
      return yield* hmmRangeRegister(range, bo.mn!.mirror, bo.userptr, bo.end);
    },
    { name: 'amdgpu_ttm_tt_get_user_pages' },
  ),
  // Whether it came in time is seen by the look-up itself.
  waitForRange: fn(
    function* waitForRange(range: HmmRange) {
      yield* hmmRangeWaitUntilValid(range, HMM_RANGE_DEFAULT_TIMEOUT);
    },
    { name: 'amdgpu_ttm_tt_get_user_pages' },
  ),
  isRangeValid: hmmRangeValid,
  endRange: fn(
    function* endRange(range: HmmRange) {
      yield* hmmRangeUnregister(range);
    },
    { name: 'amdgpu_ttm_tt_get_user_pages_done' },
  ),
};

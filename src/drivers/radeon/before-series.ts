/**
 * radeon_mn.c before the series (v5.3).
 *
 * A hash table in each device says who is watched for which mm. When the mm ends, `release` leaves everything to a
 * work and returns at once: nobody has waited for the GPU or taken the buffers off it when exit_mmap goes on (B-7). Not
 * even the work does; it only forgets the buffers. And a radeon_mn that has no buffer left stays registered until the
 * mm ends, however long the module has been gone by then (B-8).
 */
import { EINTR, ENOMEM } from '../../base/errno.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { hashAdd, hashDel, hashForEachPossible } from '../../kernel/hash-table.ts';
import { intervalTreeIterFirst, intervalTreeRemove } from '../../kernel/interval-tree.ts';
import { listDelInit, listForEachEntrySafe } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downWriteKillable, upWrite } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { initWork, scheduleWork, type WorkStruct } from '../../kernel/workqueue.ts';
import { ULONG_MAX } from '../../base/ulong.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierRegisterLockedV53 } from '../../mmu-notifier/before-series.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { radeonMnInsert, radeonMnInvalidateRangeStart, radeonMnRemove } from './radeon-mn.ts';
import {
  radeon,
  RadeonBo,
  RadeonMn,
  RadeonMnNode,
  type RadeonDevice,
  type UserptrVersion,
} from './radeon.ts';

const { fn } = radeon;

/** Forgets all buffers, then the radeon_mn itself. */
const radeonMnDestroy = fn(function* radeonMnDestroy(work: WorkStruct) {
  const rmn = containerOf(work, RadeonMn, 'work');
  const rdev = rmn.rdev!;
  yield* mutexLock(rdev.mnLock);
  yield* mutexLock(rmn.lock);
  hashDel(rmn.node);
  for (;;) {
    const it = intervalTreeIterFirst(rmn.objects, 0, ULONG_MAX);
    if (it === null) break;
    const node = containerOf(it, RadeonMnNode, 'it');
    intervalTreeRemove(it, rmn.objects);
    for (const bo of listForEachEntrySafe(node.bos, RadeonBo, 'mnList')) {
      bo.mn = null;
      listDelInit(bo.mnList);
    }
    yield* kfree(node);
  }
  yield* mutexUnlock(rmn.lock);
  yield* mutexUnlock(rdev.mnLock);
  yield* mmuNotifierUnregister(rmn.mn, rmn.mm!);
  yield* kfree(rmn);
});

/** The mm ends. Returns before anything was done about it. */
const radeonMnRelease = fn(function* radeonMnRelease(mn: MmuNotifier, _mm: MmStruct) {
  const rmn = containerOf(mn, RadeonMn, 'mn');
  initWork(rmn.work, radeonMnDestroy);
  yield* scheduleWork(rmn.work);
});

const radeonMnOps: MmuNotifierOps = {
  release: radeonMnRelease,
  invalidateRangeStart: radeonMnInvalidateRangeStart,
};

/** Whoever watches `mm` for the device, or NULL. mn_lock is held. */
function find(rdev: RadeonDevice, mm: MmStruct): RadeonMn | null {
  for (const rmn of hashForEachPossible(rdev.mnHash, RadeonMn, 'node', mm.address)) {
    if (rmn.mm === mm) return rmn;
  }
  return null;
}

/** The locked part of radeon_mn_get: mmap_sem and mn_lock are held. */
const radeonMnMake = fn(
  function* radeonMnMake(rdev: RadeonDevice, mm: MmStruct): Body<RadeonMn | ErrPtr> {
    const there = find(rdev, mm);
    if (there !== null) return there;
    const rmn = yield* kzalloc(RadeonMn, GFP_KERNEL);
    if (rmn === null) return errPtr(-ENOMEM);
    rmn.rdev = rdev;
    rmn.mm = mm;
    rmn.mn.ops = radeonMnOps;
    const error = yield* mmuNotifierRegisterLockedV53(rmn.mn, mm);
    if (error !== 0) {
      yield* kfree(rmn);
      return errPtr(error);
    }
    hashAdd(rdev.mnHash, rmn.node, mm.address);
    return rmn;
  },
  { name: 'radeon_mn_get' },
);

/** Who watches current's mm for the device, made if there is nobody; ERR_PTR(-EINTR, -ENOMEM). May sleep. */
const radeonMnGet = fn(function* radeonMnGet(rdev: RadeonDevice): Body<RadeonMn | ErrPtr> {
  const mm = current().mm as MmStruct;
  if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return errPtr(-EINTR);
  yield* mutexLock(rdev.mnLock);
  const rmn = yield* radeonMnMake(rdev, mm);
  yield* mutexUnlock(rdev.mnLock);
  yield* upWrite(mm.mmapSem);
  return rmn;
});

const radeonMnRegister = fn(function* radeonMnRegister(bo: RadeonBo) {
  const rmn = yield* radeonMnGet(bo.rdev!);
  return isErr(rmn) ? ptrErr(rmn) : yield* radeonMnInsert(rmn, bo);
});

/** Forgets the buffer. Whoever watches stays, also without any. */
const radeonMnUnregister = fn(function* radeonMnUnregister(bo: RadeonBo) {
  const { mnLock } = bo.rdev!;
  yield* mutexLock(mnLock);
  const rmn = bo.mn;
  if (rmn !== null) {
    yield* mutexLock(rmn.lock);
    bo.mn = null;
    yield* radeonMnRemove(rmn, bo);
    yield* mutexUnlock(rmn.lock);
  }
  yield* mutexUnlock(mnLock);
});

export const userptrV53: UserptrVersion = {
  register: radeonMnRegister,
  unregister: radeonMnUnregister,
};

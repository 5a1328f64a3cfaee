/**
 * amdgpu_mn since v5.5: each BO has an interval notifier of its own, under one lock of the device. The end of the mm is
 * an invalidation like others, and waits for the GPU.
 */
import { dmaFenceWait } from '../../device/fence.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { containerOf } from '../../kernel/struct.ts';
import { currentMm } from '../../mm-types/mm-struct.ts';
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
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import type { HmmRange } from '../hmm/index.ts';
import { amdgpuAmdkfdEvictUserptr } from './amdgpu-amdkfd.ts';
import { amdgpu, AmdgpuBo, globals, type AmdgpuMnVersion } from './amdgpu-priv.ts';

const { fn } = amdgpu;

const amdgpuMnInvalidate = fn(function* amdgpuMnInvalidate(
  mni: MmuIntervalNotifier,
  range: MmuNotifierRange,
  curSeq: number,
) {
  const bo = containerOf(mni, AmdgpuBo, 'notifier');
  const { notifierLock } = globals();
  if (!mmuNotifierRangeBlockable(range)) return false;
  yield* mutexLock(notifierLock);
  yield* mmuIntervalSetSeq(mni, curSeq);
  if (bo.type === 'HSA') yield* amdgpuAmdkfdEvictUserptr(bo);
  else if (bo.fence !== null) yield* dmaFenceWait(bo.fence);
  yield* mutexUnlock(notifierLock);
  return true;
});

const amdgpuMnOps: MmuIntervalNotifierOps = { invalidate: amdgpuMnInvalidate };

/** By interval notifiers. */
export const amdgpuMnInterval: AmdgpuMnVersion = {
  register: fn(function* amdgpuMnRegister(bo: AmdgpuBo) {
    const { userptr, end, notifier } = bo;
    const interval = { start: userptr, length: end - userptr };
    const error = yield* mmuIntervalNotifierInsert(notifier, currentMm()!, interval, amdgpuMnOps);
    // So that unregister leaves it alone.
    if (error !== 0) notifier.mm = null;
    return error;
  }),
  unregister: fn(function* amdgpuMnUnregister(bo: AmdgpuBo) {
    if (bo.notifier.mm === null) return;
    yield* mmuIntervalNotifierRemove(bo.notifier);
    bo.notifier.mm = null;
  }),
  lock: fn(function* amdgpuMnLock(_bo: AmdgpuBo) {
    yield* mutexLock(globals().notifierLock);
  }),
  unlock: fn(function* amdgpuMnUnlock(_bo: AmdgpuBo) {
    yield* mutexUnlock(globals().notifierLock);
  }),
  mmOf: (bo) => bo.notifier.mm,
  beginRange: fn(
    function* beginRange(bo: AmdgpuBo, range: HmmRange) {
      range.notifier = bo.notifier;
      range.start = bo.userptr;
      range.end = bo.end;
      return 0;
    },
    { name: 'amdgpu_ttm_tt_get_user_pages' },
  ),
  waitForRange: fn(
    function* waitForRange(range: HmmRange) {
      range.notifierSeq = yield* mmuIntervalReadBegin(range.notifier!);
    },
    { name: 'amdgpu_ttm_tt_get_user_pages' },
  ),
  isRangeValid: fn(
    function* isRangeValid(range: HmmRange) {
      return !mmuIntervalReadRetry(range.notifier!, range.notifierSeq);
    },
    { name: 'amdgpu_ttm_tt_get_user_pages_done' },
  ),
  endRange: fn(function* endRange(_range: HmmRange) {}, {
    name: 'amdgpu_ttm_tt_get_user_pages_done',
  }),
};

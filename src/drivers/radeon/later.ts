/**
 * radeon_mn.c from v5.5 on: an interval notifier for each buffer, and no tree of the driver's own.
 *
 * The event of the mm's end may block here, so the GPU is waited for. The sequence is not used: it is read once, when
 * the buffer is registered, because nothing else would do (a FIXME says so), and pages are looked up without a retry.
 * `retrying` does use it, as amdgpu does: what a mend would look like.
 */
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { current } from '../../kernel/running.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalSetSeq,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../mmu-notifier/interval.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { isBoundNow, letGoOfBo } from './radeon-mn.ts';
import { radeon, RadeonBo, type UserptrVersion } from './radeon.ts';
import { radeonBoWait, ttmBoValidate } from './radeon-ttm.ts';

const { fn } = radeon;

/** Waits for the GPU and lets go. False, with nothing done, if it must not sleep. */
const radeonMnInvalidate = fn(function* radeonMnInvalidate(
  mni: MmuIntervalNotifier,
  range: MmuNotifierRange,
  _seq: number,
) {
  const bo = containerOf(mni, RadeonBo, 'notifier');
  if (!(yield* isBoundNow(bo))) return true;
  if (!mmuNotifierRangeBlockable(range)) return false;
  yield* letGoOfBo(bo);
  return true;
});

/** The same, and whoever has looked pages up without having bound them will see that they are old. */
const radeonMnInvalidateRetrying = fn(
  function* radeonMnInvalidateRetrying(
    mni: MmuIntervalNotifier,
    range: MmuNotifierRange,
    seq: number,
  ) {
    if (!mmuNotifierRangeBlockable(range)) return false;
    const bo = containerOf(mni, RadeonBo, 'notifier');
    yield* mutexLock(bo.resv);
    yield* mmuIntervalSetSeq(mni, seq);
    if (bo.isBound) {
      yield* radeonBoWait(bo);
      yield* ttmBoValidate(bo, 'RADEON_GEM_DOMAIN_CPU');
    }
    yield* mutexUnlock(bo.resv);
    return true;
  },
  { name: 'radeon_mn_invalidate' },
);

function registerWith(ops: MmuIntervalNotifierOps) {
  return fn(
    function* radeonMnRegister(bo: RadeonBo) {
      const interval = { start: bo.userptr, length: bo.pageCount * PAGE_SIZE };
      const error = yield* mmuIntervalNotifierInsert(
        bo.notifier,
        current().mm as MmStruct,
        interval,
        ops,
      );
      if (error !== 0) {
        // So that nothing is removed that was not inserted.
        bo.notifier.mm = null;
        return error;
      }
      // What is looked up later is not held against it.
      yield* mmuIntervalReadBegin(bo.notifier);
      return 0;
    },
    { name: 'radeon_mn_register' },
  );
}

const radeonMnUnregister = fn(function* radeonMnUnregister(bo: RadeonBo) {
  if (bo.notifier.mm === null) return;
  yield* mmuIntervalNotifierRemove(bo.notifier);
  bo.notifier.mm = null;
});

export const userptrV55: UserptrVersion = {
  register: registerWith({ invalidate: radeonMnInvalidate }),
  unregister: radeonMnUnregister,
};

/** Pages are looked up before buffers are reserved, and used if the sequence is the same then. No kernel had it. */
export const userptrRetrying: UserptrVersion = {
  register: registerWith({ invalidate: radeonMnInvalidateRetrying }),
  unregister: radeonMnUnregister,
  pinsFirst: true,
  allocatesFirst: true,
  unregistersLast: true,
};

/**
 * hmm's calls, the same in all versions but for who keeps struct hmm: see {@link HmmVersion}. hmm is part of the
 * kernel, not a module.
 */
import { EFAULT, EINVAL } from '../../base/errno.ts';
import { fn } from '../../kernel/call.ts';
import { dataRaceWrite } from '../../kernel/field.ts';
import { krefGet } from '../../kernel/kref.ts';
import { mmgetNotZero, mmput, PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { addMirror, addRange, checkMirror, hmmVersion, removeMirror, removeRange } from './hmm.ts';
import type { HmmMirror, HmmRange } from './hmm-types.ts';

export { hmmV53 } from './before-series.ts';
export { hmmBeforeGracePeriod, hmmByMm } from './before-grace-period.ts';
export { hmmFixed, hmmSeries } from './series.ts';
export {
  Hmm,
  HmmMirror,
  HmmRange,
  type HmmMirrorOps,
  type HmmPfn,
  type HmmVersion,
} from './hmm-types.ts';
export { setHmm } from './hmm.ts';
export {
  HMM_RANGE_DEFAULT_TIMEOUT,
  hmmRangeFault,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
} from './hmm-range.ts';

/**
 * `hmm_mirror_register(mirror, mm)`: 0; -EINVAL without ops; -ENOMEM; -EINTR (as the series makes it; -ENOMEM
 * before). From then on `mirror.ops` are called. The caller holds mmap_sem for write and keeps mm_users above zero.
 * May sleep. Pairs with {@link hmmMirrorUnregister}.
 */
export const hmmMirrorRegister = fn(function* hmmMirrorRegister(mirror: HmmMirror, mm: MmStruct) {
  if (checkMirror(mirror, mm) !== 0) return -EINVAL;
  const hmm = yield* hmmVersion().get(mm);
  if (typeof hmm === 'number') return hmm;
  yield* addMirror(hmm, mirror);
  return 0;
});

/**
 * `hmm_mirror_unregister(mirror)`: when it returns, the mirror's ops are not called any more, and it may be freed.
 * No range of it is registered. Not from its ops. Sleeps.
 */
export const hmmMirrorUnregister = fn(function* hmmMirrorUnregister(mirror: HmmMirror) {
  const hmm = mirror.hmm!;
  yield* removeMirror(hmm, mirror);
  yield* hmmVersion().put(hmm);
});

/**
 * `hmm_range_register(range, mirror, start, end)`: 0; -EINVAL unless [start, end) are whole pages, and some; -EFAULT
 * when the mm has ended. The mm is in use until {@link hmmRangeUnregister}. May sleep.
 */
export const hmmRangeRegister = fn(
  function* hmmRangeRegister(range: HmmRange, mirror: HmmMirror, start: number, end: number) {
    if (start % PAGE_SIZE !== 0 || end % PAGE_SIZE !== 0 || start >= end) return -EINVAL;
    yield* dataRaceWrite(range, 'valid', false);
    range.start = start;
    range.end = end;
    const hmm = mirror.hmm!;
    const { mmOf, rangesHold } = hmmVersion();
    // As long as the range is there, release does not run.
    if (!(yield* mmgetNotZero(mmOf(hmm)))) return -EFAULT;
    if (rangesHold) yield* krefGet(hmm.kref);
    yield* addRange(hmm, range);
    return 0;
  },
  { name: 'hmm_range_register' },
);

/**
 * `hmm_range_unregister(range)`: the range may be freed. Perhaps the last use of the mm, which then ends here: hold
 * no lock that a release callback takes. May sleep.
 */
export const hmmRangeUnregister = fn(function* hmmRangeUnregister(range: HmmRange) {
  const hmm = range.hmm!;
  const { mmOf, rangesHold, put } = hmmVersion();
  yield* removeRange(hmm, range);
  yield* mmput(mmOf(hmm));
  if (rangesHold) yield* put(hmm);
});

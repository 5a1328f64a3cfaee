/**
 * hmm's calls, by the version that the machine has. hmm is part of the kernel, not a module.
 */
import { EINVAL } from '../../base/errno.ts';
import { fn } from '../../kernel/call.ts';
import { dataRaceWrite } from '../../kernel/field.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { hmmVersion } from './hmm.ts';
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
export function hmmMirrorRegister(mirror: HmmMirror, mm: MmStruct) {
  return hmmVersion().mirrorRegister(mirror, mm);
}

/**
 * `hmm_mirror_unregister(mirror)`: when it returns, the mirror's ops are not called any more, and it may be freed.
 * No range of it is registered. Not from its ops. Sleeps.
 */
export function hmmMirrorUnregister(mirror: HmmMirror) {
  return hmmVersion().mirrorUnregister(mirror);
}

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
    return yield* hmmVersion().rangeRegister(range, mirror);
  },
  { name: 'hmm_range_register' },
);

/**
 * `hmm_range_unregister(range)`: the range may be freed. Perhaps the last use of the mm, which then ends here: hold
 * no lock that a release callback takes. May sleep.
 */
export function hmmRangeUnregister(range: HmmRange) {
  return hmmVersion().rangeUnregister(range);
}

/**
 * amd_iommu_v2.c as it was: up to v3.19 there is no invalidate_range; from start to end the device walks an empty page
 * table. Sections nest and overlap, so starts are counted. Left out: page requests, which are as in v5.3.
 */
import { atomicDecAndTest, atomicIncReturn } from '../../kernel/atomic.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type {
  MmuNotifier,
  MmuNotifierOps,
  MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import {
  amdIommuV2,
  clearPasidState,
  deviceStateOf,
  pasidStateOf,
  pdevOf,
  putDeviceState,
  putPasidStateWait,
  type PasidState,
} from './amd-iommu-v2.ts';
import { mnRelease } from './callbacks.ts';
import { amdIommuDomainSetGcr3 } from './iommu.ts';

const { fn } = amdIommuV2;

/** An empty table is as good as none: the device finds nothing. */
function setEmpty(state: PasidState) {
  return amdIommuDomainSetGcr3(pdevOf(state), state.pasid, null);
}

function restore(state: PasidState) {
  return amdIommuDomainSetGcr3(pdevOf(state), state.pasid, state.mm!.pageTables);
}

// ---- nothing counted, and with a counter (v3.18, v3.19) -----------------------------------------

const mnStartUncounted = fn(
  function* mnStartUncounted(mn: MmuNotifier, _range: MmuNotifierRange) {
    yield* setEmpty(pasidStateOf(mn));
    return 0;
  },
  { name: 'mn_invalidate_range_start' },
);

const mnEndUncounted = fn(
  function* mnEndUncounted(mn: MmuNotifier, _range: MmuNotifierRange) {
    yield* restore(pasidStateOf(mn));
  },
  { name: 'mn_invalidate_range_end' },
);

/** The first one switches. */
const mnStart = fn(
  function* mnStart(mn: MmuNotifier, _range: MmuNotifierRange) {
    const state = pasidStateOf(mn);
    if ((yield* atomicIncReturn(state.mmuNotifierCount)) === 1) yield* setEmpty(state);
    return 0;
  },
  { name: 'mn_invalidate_range_start' },
);

/** The last one switches back: between the count and the switch another may have begun (B-45). */
const mnEnd = fn(
  function* mnEnd(mn: MmuNotifier, _range: MmuNotifierRange) {
    const state = pasidStateOf(mn);
    if (yield* atomicDecAndTest(state.mmuNotifierCount)) yield* restore(state);
  },
  { name: 'mn_invalidate_range_end' },
);

type Callback<R> = KernelCallable<[MmuNotifier, MmuNotifierRange], R>;

/** Count and switch in one section of `pasid_state.lock` (d73a6d722a67). */
function locked<R>(callback: Callback<R>, name: string): Callback<R> {
  return fn(
    function* callLocked(mn: MmuNotifier, range: MmuNotifierRange) {
      const { lock } = pasidStateOf(mn);
      yield* spinLock(lock);
      const result = yield* callback(mn, range);
      yield* spinUnlock(lock);
      return result;
    },
    { name },
  ) as Callback<R>;
}

export const uncountedOps: MmuNotifierOps = {
  release: mnRelease,
  invalidateRangeStart: mnStartUncounted,
  invalidateRangeEnd: mnEndUncounted,
};

export const countedOps: MmuNotifierOps = {
  release: mnRelease,
  invalidateRangeStart: mnStart,
  invalidateRangeEnd: mnEnd,
};

export const lockedOps: MmuNotifierOps = {
  release: mnRelease,
  invalidateRangeStart: locked(mnStart, 'mn_invalidate_range_start_locked'),
  invalidateRangeEnd: locked(mnEnd, 'mn_invalidate_range_end_locked'),
};

// ---- release that frees (v3.16) ---------------------------------------------------------------

/** The program has ended: so has the binding. Who has called release still stands on what is freed (B-41). */
const mnReleaseAndFree = fn(
  function* mnReleaseAndFree(mn: MmuNotifier, mm: MmStruct) {
    const state = pasidStateOf(mn);
    const deviceState = deviceStateOf(state);
    yield* mnRelease(mn, mm);
    yield* clearPasidState(deviceState, state.pasid);
    yield* putPasidStateWait(state);
    yield* putDeviceState(deviceState);
  },
  { name: 'mn_release' },
);

export const freeingOps: MmuNotifierOps = { ...uncountedOps, release: mnReleaseAndFree };

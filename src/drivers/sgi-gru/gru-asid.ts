/**
 * ASIDs: numbers by which a chiplet's TLB tells processes apart. They are few, and given out in ascending order.
 *
 *      8 ------ x ------------- x ------- MAX_ASID
 *          ^ last given  ^ limit: the next one in use
 *
 * At the limit the next free stretch is looked for. At MAX_ASID all begins anew: the TLB is flushed, and a new
 * generation makes those ASIDs void that only unloaded processes remember.
 */
import { bugOn } from '../../kernel/assertion.ts';
import { dataRace } from '../../kernel/field.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { GRU_NUM_CCH, keysOfAsid, type GruChiplet } from './gru-chiplet.ts';
import {
  ASID_INC,
  MAX_ASID,
  MIN_ASID,
  sgiGru,
  type GruMmStruct,
  type GruState,
  type GruThreadState,
} from './gru-priv.ts';
import { gruFlushAllTlb } from './gru-tlb-purge.ts';

const { fn } = sgiGru;

/** Begins anew; gs_asid_lock is held. */
const gruWrapAsid = fn(function* gruWrapAsid(gru: GruState) {
  gru.gsAsidGen += 1;
  yield* gruFlushAllTlb(gru);
  return MIN_ASID;
});

/** The ASIDs of contexts that are loaded. Others must not be given to two. */
const asidsInUse = fn(
  function* asidsInUse(gru: GruState) {
    const used: number[] = [];
    for (let ctxnum = 0; ctxnum < GRU_NUM_CCH; ctxnum += 1) {
      // Neither gs_lock nor the other's ms_asid_lock is held: the driver looks at what may be changing.
      const gts = (yield* dataRace(gru.gsGts.get(ctxnum), 'gts')) as GruThreadState | null;
      if (gts === null) continue;
      used.push(yield* dataRace(gts.tsGms!.msAsids.get(gru.gsGid), 'mtAsid'));
    }
    return used;
  },
  { name: 'gru_reset_asid_limit' },
);

/** A free ASID from `asid` on, and the new limit. gs_asid_lock is held. */
const gruResetAsidLimit = fn(function* gruResetAsidLimit(gru: GruState, asid: number) {
  let next = asid >= MAX_ASID ? yield* gruWrapAsid(gru) : asid;
  const used = yield* asidsInUse(gru);
  // There are more ASIDs than contexts: one is free.
  while (used.includes(next)) {
    next += ASID_INC;
    if (next >= MAX_ASID) next = yield* gruWrapAsid(gru);
  }
  gru.gsAsidLimit = Math.min(MAX_ASID, ...used.filter((other) => other > next));
  gru.gsAsid = next;
  return next;
});

/** The next ASID of a chiplet. The caller's ms_asid_lock is held. */
const gruAssignAsid = fn(function* gruAssignAsid(gru: GruState) {
  yield* spinLock(gru.gsAsidLock);
  gru.gsAsid += ASID_INC;
  let asid = gru.gsAsid;
  if (asid >= gru.gsAsidLimit) asid = yield* gruResetAsidLimit(gru, asid);
  const generation = gru.gsAsidGen;
  yield* spinUnlock(gru.gsAsidLock);
  return { asid, generation };
});

/** The chiplet is to know nothing of the mm but what starts of invalidations have left. */
function follow(gru: GruState, asid: number, mm: MmStruct): void {
  const { first, end } = keysOfAsid(asid);
  declareCoherence((gru.gsChiplet as GruChiplet).tlb, { first, end, cpuPage: 0, mm, by: 'start' });
}

/**
 * A context of the GTS is about to be loaded: the ASID of its mm on that chiplet, a new one unless the old is still
 * good. ts_ctxlock is held. Never sleeps.
 */
export const gruLoadMmTracker = fn(function* gruLoadMmTracker(gru: GruState, gts: GruThreadState) {
  const gms = gts.tsGms!;
  const tracker = gms.msAsids.get(gru.gsGid);
  const bit = 1 << gts.tsCtxnum;
  yield* spinLock(gms.msAsidLock);
  const isStale =
    tracker.mtCtxbitmap === 0 && tracker.mtAsidGen !== (yield* dataRace(gru, 'gsAsidGen'));
  if (tracker.mtAsid === 0 || isStale) {
    const { asid, generation } = yield* gruAssignAsid(gru);
    tracker.mtAsid = asid;
    tracker.mtAsidGen = generation;
  }
  bugOn((tracker.mtCtxbitmap & bit) !== 0, 'asids->mt_ctxbitmap & ctxbitmap');
  if (tracker.mtCtxbitmap === 0) follow(gru, tracker.mtAsid, gts.tsMm!);
  tracker.mtCtxbitmap |= bit;
  gms.msAsidmap |= 1 << gru.gsGid;
  const asid = tracker.mtAsid;
  yield* spinUnlock(gms.msAsidLock);
  return asid;
});

/** It is unloaded. The mm keeps its ASID, until it is invalidated. ts_ctxlock is held. Never sleeps. */
export const gruUnloadMmTracker = fn(function* gruUnloadMmTracker(
  gru: GruState,
  gts: GruThreadState,
) {
  const gms: GruMmStruct = gts.tsGms!;
  const tracker = gms.msAsids.get(gru.gsGid);
  const bit = 1 << gts.tsCtxnum;
  yield* spinLock(gms.msAsidLock);
  bugOn((tracker.mtCtxbitmap & bit) === 0, '(asids->mt_ctxbitmap & ctxbitmap) != ctxbitmap');
  tracker.mtCtxbitmap &= ~bit;
  if (tracker.mtCtxbitmap === 0) {
    const { first, end } = keysOfAsid(tracker.mtAsid);
    withdrawCoherence((gru.gsChiplet as GruChiplet).tlb, first, end);
  }
  yield* spinUnlock(gms.msAsidLock);
});

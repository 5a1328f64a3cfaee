/**
 * Invalidation: what the notifier's start and end do, and what they share with the driver itself.
 *
 *   CPU0 invalidation                        CPU1 drop-in (gru-fault.ts)
 *   start: ms_range_active++
 *          invalidates on every chiplet
 *                                            reads the TFH
 *                                            ms_range_active? not zero: no drop-in
 *   clears page-table entries
 *   end:   ms_range_active--
 *          wakes who waits for zero
 *
 * Counting comes before invalidating: who reads zero afterwards and has read the TFH before that is found by the
 * invalidation, see gru-chiplet.ts. Neither callback sleeps, so ranges that must not block are no different.
 */
import { atomicDecAndTest, atomicInc } from '../../kernel/atomic.ts';
import { preemptDisable, preemptEnable } from '../../kernel/preempt.ts';
import { current } from '../../kernel/running.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { wakeUpAll } from '../../kernel/wait.ts';
import type { MmuNotifier, MmuNotifierRange } from '../../mmu-notifier/mmu-notifier.ts';
import { GRUMAXINVAL, tghInvalidate, type GruChiplet, type TghRequest } from './gru-chiplet.ts';
import {
  allGrus,
  GRU_NUM_TGH,
  GruMmStruct,
  sgiGru,
  type GruMmStruct as Gms,
  type GruState,
} from './gru-priv.ts';

const { fn } = sgiGru;
const PAGE_SIZE = 4096;
const ALL_CONTEXTS = 0xffff;

/** Issues an invalidation through a handle of the chiplet. Never sleeps. */
const issue = fn(
  function* issue(gru: GruState, request: TghRequest) {
    yield* preemptDisable();
    // Set-up runs on no CPU, which has a number below 0.
    const tgh = gru.gsTgh.get(Math.max(current().cpu.id, 0) % GRU_NUM_TGH);
    yield* spinLock(tgh.lock);
    yield* tghInvalidate(gru.gsChiplet as GruChiplet, request);
    yield* spinUnlock(tgh.lock);
    yield* preemptEnable();
  },
  { name: 'tgh_invalidate' },
);

/** Flushes the whole TLB of a chiplet. Never sleeps. */
export const gruFlushAllTlb = fn(function* gruFlushAllTlb(gru: GruState) {
  yield* issue(gru, { ctxbitmap: ALL_CONTEXTS });
});

/**
 * Makes all chiplets forget [start, start + length) of an mm. Where no context of it is loaded the ASID is given up
 * instead, which costs nothing now and all entries later. Never sleeps.
 */
export const gruFlushTlbRange = fn(function* gruFlushTlbRange(
  gms: Gms,
  start: number,
  length: number,
) {
  const count = Math.ceil(length / PAGE_SIZE);
  const first = Math.floor(start / PAGE_SIZE);
  yield* spinLock(gms.msAsidLock);
  for (const gru of allGrus()) {
    const bit = 1 << gru.gsGid;
    if ((gms.msAsidmap & bit) === 0) continue;
    const tracker = gms.msAsids.get(gru.gsGid);
    const { mtAsid: asid, mtCtxbitmap: ctxbitmap } = tracker;
    if (asid !== 0 && ctxbitmap !== 0) {
      const pages = { first, end: first + count };
      yield* issue(gru, { asid, ctxbitmap, ...(count < GRUMAXINVAL ? { pages } : {}) });
    } else {
      tracker.mtAsid = 0;
      gms.msAsidmap &= ~bit;
    }
  }
  yield* spinUnlock(gms.msAsidLock);
});

export const gruInvalidateRangeStart = fn(function* gruInvalidateRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
) {
  const gms = containerOf(mn, GruMmStruct, 'msNotifier');
  yield* atomicInc(gms.msRangeActive);
  yield* gruFlushTlbRange(gms, range.start, range.end - range.start);
  return 0;
});

export const gruInvalidateRangeEnd = fn(function* gruInvalidateRangeEnd(
  mn: MmuNotifier,
  _range: MmuNotifierRange,
) {
  const gms = containerOf(mn, GruMmStruct, 'msNotifier');
  // The form with a result, for its order: the page tables have changed before the count.
  yield* atomicDecAndTest(gms.msRangeActive);
  yield* wakeUpAll(gms.msWaitQueue);
});

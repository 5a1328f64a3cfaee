/** A driver with one interval notifier, a lock, and a table of what it has looked up, for tests. */
import { fn } from '../../src/kernel/call.ts';
import { mutex, mutexLock, mutexTrylock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { containerOf, embed, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import type { Machine } from '../../src/mm/machine.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import {
  MmuIntervalNotifier,
  mmuIntervalSetSeq,
  type MmuIntervalNotifierOps,
} from '../../src/mmu-notifier/interval.ts';
import {
  mmuNotifierMmOf,
  mmuNotifierRangeBlockable,
  type MmuNotifierEvent,
  type MmuNotifierMm,
  type MmuNotifierRange,
} from '../../src/mmu-notifier/mmu-notifier.ts';

export const Mirror = struct('mirror', {
  mni: embed(MmuIntervalNotifier),
  lock: mutex(),
  /** How often it was invalidated. */
  hits: 0,
  /** Whether something that was looked up is in use. */
  isMapped: false as boolean,
});
export type Mirror = InstanceOf<typeof Mirror>;

export function newMirror(machine: Machine): Mirror {
  return allocateStatic(machine, Mirror);
}

/** Takes the lock, and refuses where it would have to wait and must not. */
export const mirrorOps: MmuIntervalNotifierOps = {
  invalidate: fn(function* mirrorInvalidate(
    mni: MmuIntervalNotifier,
    range: MmuNotifierRange,
    seq: number,
  ) {
    const mirror = containerOf(mni, Mirror, 'mni');
    if (mmuNotifierRangeBlockable(range)) yield* mutexLock(mirror.lock);
    else if (!(yield* mutexTrylock(mirror.lock))) return false;
    yield* mmuIntervalSetSeq(mni, seq);
    mirror.hits += 1;
    mirror.isMapped = false;
    yield* mutexUnlock(mirror.lock);
    return true;
  }),
};

export function rangeOf(
  mm: MmStruct,
  start: number,
  end: number,
  event: MmuNotifierEvent = 'MMU_NOTIFY_CLEAR',
): MmuNotifierRange {
  return { mm, vma: null, start, end, event, flags: 0 };
}

export function notifiersOf(mm: MmStruct): MmuNotifierMm {
  return mmuNotifierMmOf(mm) as MmuNotifierMm;
}

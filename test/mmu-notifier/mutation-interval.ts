/** Safeguards of interval notifiers. */
import { breaks, edit, missing, seenBy, type Mutation } from './mutant.ts';

const INTERVAL = 'mmu-notifier/interval.ts';
const ITREE = 'mmu-notifier/interval-invalidate.ts';

export const INTERVAL_MUTATIONS: readonly Mutation[] = [
  ...seenBy({ scenario: 'interval-remove', variant: 'fixed-v5.18' }, [
    missing(
      'the removal of an interval notifier does not wait',
      breaks('I1', 'interval_subscriber'),
      edit(INTERVAL, 'yield* waitEvent(notifiers.wq, isReleased);'),
    ),
    missing(
      'the removal of an interval notifier looks without the lock',
      breaks('I1', 'interval_subscriber'),
      edit(INTERVAL, '() => released(notifiers, odd)', '() => hasGoneOn(notifiers, odd)'),
    ),
    missing(
      'the removal of an interval notifier changes the tree at once',
      breaks('I1', 'interval_subscriber'),
      edit(INTERVAL, 'if (!mnItreeIsInvalidating(notifiers)) { warnOn', 'if (true) { warnOn'),
    ),
  ]),
  ...seenBy('own-interval-insert', [
    missing(
      'the insertion of an interval notifier changes the tree at once',
      breaks('I10', 'mmu_notifier_mm'),
      edit(
        INTERVAL,
        'if (mnItreeIsInvalidating(notifiers)) { hlistAddHead',
        'if (false) { hlistAddHead',
      ),
    ),
  ]),
  ...seenBy('own-interval-remove', [
    missing(
      'the insertion of an interval notifier takes no pin on the mm',
      { kind: 'leak', object: 'vm_area_struct' },
      edit(INTERVAL, 'yield* mmgrab(mm);'),
    ),
    missing(
      'the last end does not make the sequence even',
      breaks('I10', 'mmu_notifier_mm'),
      edit(
        ITREE,
        "yield* writeOnce(notifiers, 'invalidateSeq', ulongAdd(notifiers.invalidateSeq, 1));",
      ),
    ),
    missing(
      'the last end leaves what was put off',
      breaks('I10', 'mmu_notifier_mm'),
      edit(ITREE, 'workOffDeferred(notifiers); yield* spinUnlock', 'yield* spinUnlock'),
    ),
    missing(
      'the last end wakes nobody',
      { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
      edit(ITREE, 'yield* wakeUpAll(notifiers.wq);'),
    ),
  ]),
  ...seenBy('own-interval-read-alone', [
    missing(
      'an interval notifier starts with the sequence of the mm at rest',
      { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
      edit(INTERVAL, 'isActive ? seq : ulongSub(seq, 1)', 'seq'),
    ),
  ]),
  ...seenBy('own-interval-read', [
    missing(
      'a reader does not wait for the invalidation that it is in',
      { kind: 'warn', object: 'the mirror has a page that is gone' },
      edit(
        INTERVAL,
        'if (isInvalidating) yield* waitEvent(notifiers.wq, () => hasGoneOn(notifiers, seq));',
      ),
    ),
    missing(
      'a start does not make the sequence odd',
      { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
      edit(ITREE, "yield* writeOnce(notifiers, 'invalidateSeq', notifiers.invalidateSeq + 1);"),
    ),
  ]),
  ...seenBy('own-interval-two-ranges', [
    missing(
      'every end works as the last',
      breaks('I10', 'mmu_notifier_mm'),
      edit(ITREE, 'const isLast = notifiers.activeInvalidateRanges === 0;', 'const isLast = true;'),
    ),
  ]),
];

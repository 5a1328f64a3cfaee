/** Safeguards of interval notifiers. */
import { edit, type Mutation } from './mutant.ts';

const INTERVAL = 'mmu-notifier/interval.ts';
const ITREE = 'mmu-notifier/interval-invalidate.ts';

export const INTERVAL_MUTATIONS: readonly Mutation[] = [
  {
    name: 'the removal of an interval notifier does not wait',
    edits: [edit(INTERVAL, 'yield* waitEvent(notifiers.wq, isReleased);')],
    scenario: 'interval-remove',
    variant: 'fixed-v5.18',
    finds: { kind: 'invariant', object: 'interval_subscriber', invariant: 'I1' },
  },
  {
    name: 'the removal of an interval notifier looks without the lock',
    edits: [edit(INTERVAL, '() => released(notifiers, odd)', '() => hasGoneOn(notifiers, odd)')],
    scenario: 'interval-remove',
    variant: 'fixed-v5.18',
    finds: { kind: 'invariant', object: 'interval_subscriber', invariant: 'I1' },
  },
  {
    name: 'the removal of an interval notifier changes the tree at once',
    edits: [
      edit(INTERVAL, 'if (!mnItreeIsInvalidating(notifiers)) { warnOn', 'if (true) { warnOn'),
    ],
    scenario: 'interval-remove',
    variant: 'fixed-v5.18',
    finds: { kind: 'invariant', object: 'interval_subscriber', invariant: 'I1' },
  },
  {
    name: 'the insertion of an interval notifier changes the tree at once',
    edits: [
      edit(
        INTERVAL,
        'if (mnItreeIsInvalidating(notifiers)) { hlistAddHead',
        'if (false) { hlistAddHead',
      ),
    ],
    scenario: 'own-interval-insert',
    finds: { kind: 'invariant', object: 'mmu_notifier_mm', invariant: 'I10' },
  },
  {
    name: 'the insertion of an interval notifier takes no pin on the mm',
    edits: [edit(INTERVAL, 'yield* mmgrab(mm);')],
    scenario: 'own-interval-remove',
    finds: { kind: 'leak', object: 'vm_area_struct' },
  },
  {
    name: 'an interval notifier starts with the sequence of the mm at rest',
    edits: [edit(INTERVAL, 'isActive ? seq : ulongSub(seq, 1)', 'seq')],
    scenario: 'own-interval-read-alone',
    finds: { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
  },
  {
    name: 'a reader does not wait for the invalidation that it is in',
    edits: [
      edit(
        INTERVAL,
        'if (isInvalidating) yield* waitEvent(notifiers.wq, () => hasGoneOn(notifiers, seq));',
      ),
    ],
    scenario: 'own-interval-read',
    finds: { kind: 'warn', object: 'the mirror has a page that is gone' },
  },
  {
    name: 'a start does not make the sequence odd',
    edits: [
      edit(ITREE, "yield* writeOnce(notifiers, 'invalidateSeq', notifiers.invalidateSeq + 1);"),
    ],
    scenario: 'own-interval-read',
    finds: { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
  },
  {
    name: 'the last end does not make the sequence even',
    edits: [
      edit(
        ITREE,
        "yield* writeOnce(notifiers, 'invalidateSeq', ulongAdd(notifiers.invalidateSeq, 1));",
      ),
    ],
    scenario: 'own-interval-remove',
    finds: { kind: 'invariant', object: 'mmu_notifier_mm', invariant: 'I10' },
  },
  {
    name: 'the last end leaves what was put off',
    edits: [edit(ITREE, 'workOffDeferred(notifiers); yield* spinUnlock', 'yield* spinUnlock')],
    scenario: 'own-interval-remove',
    finds: { kind: 'invariant', object: 'mmu_notifier_mm', invariant: 'I10' },
  },
  {
    name: 'the last end wakes nobody',
    edits: [edit(ITREE, 'yield* wakeUpAll(notifiers.wq);')],
    scenario: 'own-interval-remove',
    finds: { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
  },
  {
    name: 'every end works as the last',
    edits: [
      edit(ITREE, 'const isLast = notifiers.activeInvalidateRanges === 0;', 'const isLast = true;'),
    ],
    scenario: 'own-interval-two-ranges',
    finds: { kind: 'invariant', object: 'mmu_notifier_mm', invariant: 'I10' },
  },
];

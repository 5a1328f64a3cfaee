/** Interval notifiers against invalidation and exit. */
import { MADV_DONTNEED } from '../../base/mman.ts';
import {
  intervalSubscriberInsert,
  intervalSubscriberRemove,
  intervalSubscriberUse,
  type IntervalSubscriber,
} from '../../drivers/subscriber/index.ts';
import { goal } from '../../kernel/choose.ts';
import { isErr } from '../../kernel/err-ptr.ts';
import type { Machine } from '../../mm/machine.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmgetNotZero, mmput } from '../../mm-types/mm-struct.ts';
import {
  NOTIFIERS_5_5,
  NOTIFIERS_6_1,
  setNotifierBehaviour,
} from '../../mmu-notifier/behaviour.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS, exit, munmap, subject, unpin, type Subject } from './subject.ts';

const INTERVAL = { start: ADDRESS, length: PAGE_SIZE };
const HIT = { name: 'the interval was hit', calls: 'subscriber_invalidate' } as const;

interface State extends Subject {
  readonly interval: IntervalSubscriber;
}

function withInterval(machine: Machine): State {
  const made = subject(machine, 0);
  const interval = machine.runNow(intervalSubscriberInsert(made.mm, INTERVAL));
  return { ...made, interval: interval as IntervalSubscriber };
}

const remove = {
  *run({ interval }: State) {
    yield* intervalSubscriberRemove(interval);
  },
};

export const intervalRemove = defineScenario<State>({
  name: 'interval-remove',
  models: ['B-1', 'K4', 'I1'],
  about: 'an interval notifier is removed and freed while its range is unmapped',
  variants: {
    'v5.5': {
      about: 'remove may return after the sequence is even and before the tree has let go of it',
      expect: {
        verdict: 'violation',
        kind: 'use-after-free',
        object: 'interval_subscriber',
        invariant: 'I1',
      },
      alsoKnown: [
        {
          name: 'it may even return while the callback runs',
          kind: 'invariant',
          object: 'interval_subscriber',
        },
      ],
    },
    'fixed-v5.18': {
      about: '319561669a59: it looks at the sequence under the lock',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    setNotifierBehaviour(machine, variant === 'v5.5' ? NOTIFIERS_5_5 : NOTIFIERS_6_1);
    return withInterval(machine);
  },
  tasks: { remove, munmap },
  goals: [HIT],
  finally: unpin,
});

const dontneed = {
  *run({ process }: State) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
};

export const intervalRemoveTwoRanges = defineScenario<State>({
  ...intervalRemove,
  name: 'interval-remove-two-ranges',
  about: 'the same, while two threads invalidate at once: the last one to end lets remove go on',
  tasks: { remove, dontneed0: dontneed, dontneed1: dontneed },
});

const insertAndUse = {
  *run({ mm }: Subject) {
    const s = yield* intervalSubscriberInsert(mm, INTERVAL);
    if (isErr(s)) return;
    if (yield* intervalSubscriberUse(s)) goal('in use');
    yield* intervalSubscriberRemove(s);
  },
};

export const intervalInsert = defineScenario<State>({
  name: 'interval-insert',
  models: ['interval notifiers'],
  about:
    'an interval notifier is inserted and used beside another one, while the range is unmapped',
  variants: { 'v6.1': { expect: { verdict: 'clean' } } },
  setup(machine) {
    setNotifierBehaviour(machine, NOTIFIERS_6_1);
    return withInterval(machine);
  },
  tasks: { insert: insertAndUse, munmap },
  goals: [HIT, 'in use'],
  *finally(state) {
    yield* intervalSubscriberRemove(state.interval);
    yield* unpin(state);
  },
});

export const intervalInsertRemove = defineScenario<State>({
  ...intervalInsert,
  name: 'interval-insert-remove',
  about: 'the same, while the other one is removed',
  tasks: { insert: insertAndUse, remove, munmap },
  finally: unpin,
});

export const intervalUse = defineScenario<State>({
  name: 'interval-use',
  models: ['interval notifiers'],
  about: 'read_begin and read_retry while the range is unmapped',
  variants: { 'v6.1': { expect: { verdict: 'clean' } } },
  setup(machine) {
    setNotifierBehaviour(machine, NOTIFIERS_6_1);
    return withInterval(machine);
  },
  tasks: {
    use: {
      *run({ interval }) {
        if (yield* intervalSubscriberUse(interval)) goal('in use');
      },
    },
    munmap,
  },
  goals: [HIT, 'in use'],
  *finally(state) {
    yield* intervalSubscriberRemove(state.interval);
    yield* unpin(state);
  },
});

export const intervalInsertExit = defineScenario<Subject>({
  name: 'interval-insert-exit',
  models: ['B-44', 'I5'],
  about: 'a kernel thread that only has the mm_struct pinned inserts an interval notifier',
  variants: {
    'v5.5': {
      about: 'the test asks for mm_count, which is never zero here',
      expect: {
        verdict: 'violation',
        kind: 'invariant',
        object: 'interval_subscriber',
        invariant: 'I5',
      },
    },
    'v6.1': {
      about: 'the test asks for mm_users, and warns; exit may still begin right after it',
      expect: {
        verdict: 'violation',
        kind: 'warn',
        object: 'atomic_read(&mm->mm_users) <= 0',
        invariant: 'I5',
      },
      alsoKnown: [
        {
          name: 'the caller does not keep the mm in use',
          kind: 'invariant',
          object: 'interval_subscriber',
        },
      ],
    },
    'v6.1-in-use': {
      about: 'the caller takes the mm into use first, or learns that it cannot',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    const isOld = variant === 'v5.5';
    setNotifierBehaviour(machine, {
      ...NOTIFIERS_6_1,
      insertTests: isOld ? 'mm_count' : 'mm_users',
    });
    // The list's head is there, so that insertion needs no lock of the mm.
    const made = withInterval(machine);
    machine.runNow(intervalSubscriberRemove(made.interval));
    return made;
  },
  tasks: {
    insert: {
      *run({ mm }, variant) {
        const takesIntoUse = variant === 'v6.1-in-use';
        if (takesIntoUse && !(yield* mmgetNotZero(mm))) {
          goal('insert came too late');
          return;
        }
        const s = yield* intervalSubscriberInsert(mm, INTERVAL);
        if (takesIntoUse) yield* mmput(mm);
        if (!isErr(s)) yield* intervalSubscriberRemove(s);
      },
    },
    exit,
  },
  goals: ['insert came too late', HIT],
  finally: unpin,
});

/**
 * A range that must not block, as the OOM reaper's, and a subscriber that refuses it: who must be told that
 * the range is over, though it never began?
 */
import {
  deviceCommand,
  deviceCommandOps,
  deviceSlowEndOps,
  deviceSlowStartOps,
  intervalSubscriberInsert,
  intervalSubscriberRemove,
  refusingOps,
  subscriberGet,
  subscriberPut,
  type IntervalSubscriber,
  type Subscriber,
} from '../../drivers/subscriber/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { Machine } from '../../mm/machine.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmgetNotZero, mmput } from '../../mm-types/mm-struct.ts';
import { setNotifierBehaviour } from '../../mmu-notifier/behaviour.ts';
import type { MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import type { TaskDefinition } from '../../check/scenario.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  CALLED,
  munmap,
  subject,
  unpin,
  withDevice,
  type DeviceState,
  type Subject,
} from './subject.ts';

interface State extends Subject {
  readonly refusing: Subscriber;
}

/** A subscriber that counts, and one that refuses. */
function withRefusing(machine: Machine): State {
  const made = subject(machine, 1);
  const refusing = machine.runNow(subscriberGet(made.mm, refusingOps)) as Subscriber;
  return { ...made, refusing };
}

const reap: TaskDefinition<Subject> = {
  *run({ mm }) {
    if (!(yield* mmgetNotZero(mm))) return;
    if (!(yield* oomReapTaskMm(mm))) goal('the reaper gave up');
    yield* mmput(mm);
  },
};

export const refusedStart = defineScenario<State>({
  name: 'refused-start',
  models: ['B-2', 'K5', 'I7'],
  about: 'the OOM reaper invalidates; one subscriber counts the range, another refuses it',
  variants: {
    'v5.4': {
      about: 'the one that counted is never told that the range is over',
      expect: {
        verdict: 'violation',
        kind: 'invariant',
        object: 'subscriber',
        invariant: 'I7',
      },
    },
    'fixed-v5.12': {
      about: 'c2655835fd8c: after a refusal all are told the end',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    setNotifierBehaviour(machine, { pairsNonBlockable: variant === 'fixed-v5.12' });
    return withRefusing(machine);
  },
  tasks: { reap, munmap },
  goals: ['the reaper gave up', CALLED],
  *finally(state) {
    yield* subscriberPut(state.first!);
    yield* subscriberPut(state.refusing);
    yield* unpin(state);
  },
});

interface IntervalState extends State {
  readonly interval: IntervalSubscriber;
}

export const refusedAfterIntervals = defineScenario<IntervalState>({
  name: 'refused-after-intervals',
  models: ['A-4', 'I10'],
  about: 'the OOM reaper: interval notifiers have accepted the range, one of the list refuses it',
  variants: {
    'v5.5': {
      about: 'the range stays active for ever: the removal of the interval notifier never returns',
      expect: { verdict: 'violation', kind: 'deadlock', invariant: 'I10' },
    },
    'v6.1': {
      about: 'the same',
      expect: { verdict: 'violation', kind: 'deadlock', invariant: 'I10' },
    },
    fixed: {
      about: 'what the tree was told is undone when the list refuses',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    setNotifierBehaviour(machine, {
      pairsNonBlockable: variant !== 'v5.5',
      skipsEmptyList: true,
      undoesIntervals: variant === 'fixed',
    });
    const made = withRefusing(machine);
    const interval = machine.runNow(
      intervalSubscriberInsert(made.mm, { start: ADDRESS, length: PAGE_SIZE }),
    );
    machine.runNow(subscriberPut(made.first!));
    return { ...made, interval: interval as IntervalSubscriber };
  },
  tasks: {
    reap,
    remove: {
      *run({ interval }) {
        yield* intervalSubscriberRemove(interval);
      },
    },
  },
  goals: ['the reaper gave up', { name: 'the interval was hit', calls: 'subscriber_invalidate' }],
  *finally(state) {
    yield* subscriberPut(state.refusing);
    yield* unpin(state);
  },
});

const SLOW_OPS: Readonly<Record<string, MmuNotifierOps>> = {
  'start-waits': deviceSlowStartOps,
  'end-waits': deviceSlowEndOps,
};

const SLEEPS = {
  verdict: 'violation',
  kind: 'sleeping-in-atomic',
  object: 'mutex_lock(&device.commands)',
  invariant: 'I9',
} as const;

export const waitingCallback = defineScenario<DeviceState>({
  name: 'waiting-callback',
  models: ['K22', 'I9'],
  about: 'the OOM reaper invalidates while a device is busy with a command',
  variants: {
    'start-waits': { about: 'the start waits for the device', expect: SLEEPS },
    'end-waits': { about: 'the end does', expect: SLEEPS },
    refuses: {
      about: 'a start that would have to wait refuses, and the reaper gives up',
      expect: { verdict: 'clean' },
    },
  },
  setup: (machine, variant) => withDevice(machine, SLOW_OPS[variant] ?? deviceCommandOps),
  tasks: {
    reap,
    command: {
      *run({ device }) {
        yield* deviceCommand(device);
      },
    },
  },
  goals: ['the reaper gave up'],
  *finally(state) {
    yield* mmuNotifierUnregister(state.device.mn, state.mm);
    yield* unpin(state);
  },
});

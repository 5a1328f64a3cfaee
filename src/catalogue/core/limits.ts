/**
 * Where get and put say no: a put too many, more users than the counter holds, no memory, a signal. All of
 * them leave everything as it was.
 */
import { EINTR, ENOMEM, EOVERFLOW } from '../../base/errno.ts';
import { subscriberGet, subscriberPut, type Subscriber } from '../../drivers/subscriber/index.ts';
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { isErr, ptrErr } from '../../kernel/err-ptr.ts';
import type { TaskDefinition } from '../../check/scenario.ts';
import { MMU_NOTIFIER_USERS_MAX } from '../../mmu-notifier/get-put.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  CALLED,
  FREED,
  get,
  munmap,
  put,
  race,
  SERIES_IS_CLEAN,
  subject,
  unpin,
  type Subject,
} from './subject.ts';

export const overPut = defineScenario<Subject>({
  name: 'over-put',
  models: ['patch 3', 'I3'],
  about: 'two tasks put, and there was one get',
  variants: {
    'one-get': {
      about: 'the put too many is noticed, or comes when the notifier is gone already',
      expect: { verdict: 'violation', kind: 'warn', object: '!mn->users', invariant: 'I3' },
      alsoKnown: [
        { name: 'the notifier is gone already', kind: 'use-after-free', object: 'subscriber' },
      ],
    },
    'two-gets': { expect: { verdict: 'clean' } },
  },
  setup: (machine, variant) => subject(machine, variant === 'one-get' ? 1 : 2),
  tasks: { put0: put, put1: put },
  goals: [FREED],
  finally: unpin,
});

export const overPutMunmap = defineScenario<Subject>({
  ...overPut,
  name: 'over-put-munmap',
  about: 'the same, while a third task walks the list',
  tasks: { put0: put, put1: put, munmap },
  goals: [FREED, CALLED],
});

const getNearMaximum: TaskDefinition<Subject> = {
  *run({ mm, first }) {
    const s = yield* subscriberGet(mm);
    if (!isErr(s)) {
      goal(s === first ? 'get was the last that could' : 'get found none');
      yield* subscriberPut(s);
    } else if (ptrErr(s) === -EOVERFLOW) goal('get failed with -EOVERFLOW');
  },
};

/** Nobody calls get four billion times: set-up says that it has been done. */
function setUsers(first: Subscriber, users: number): void {
  first.mn.users = users;
}

export const usersMaximum = defineScenario<Subject>({
  name: 'users-maximum',
  models: ['patch 3', 'I3'],
  about: 'room for one more user, and two tasks that get',
  variants: SERIES_IS_CLEAN,
  setup(machine) {
    const made = subject(machine, 1);
    setUsers(made.first!, MMU_NOTIFIER_USERS_MAX - 1);
    return made;
  },
  tasks: { get0: getNearMaximum, get1: getNearMaximum },
  goals: ['get was the last that could', 'get failed with -EOVERFLOW'],
  *finally(state) {
    setUsers(state.first!, 1);
    yield* subscriberPut(state.first!);
    yield* unpin(state);
  },
});

export const usersMaximumPut = defineScenario<Subject>({
  ...usersMaximum,
  name: 'users-maximum-put',
  about: 'the same, while another user makes room',
  tasks: { get0: getNearMaximum, get1: getNearMaximum, put },
});

const getOrSay = fn(function* getOrSay({ mm }: Subject) {
  const s = yield* subscriberGet(mm);
  if (!isErr(s)) {
    yield* subscriberPut(s);
    return;
  }
  const error = ptrErr(s);
  if (error === -ENOMEM) goal('no memory');
  if (error === -EINTR) goal('interrupted');
});

const mayFail: TaskDefinition<Subject> = {
  *run(state) {
    yield* getOrSay(state);
  },
};

export const allocFails = race({
  name: 'alloc-fails',
  models: ['patch 2', 'patch 3'],
  about: 'two tasks get the first subscriber of an mm, and one allocation fails',
  faults: { allocations: 1 },
  users: 0,
  tasks: { get0: mayFail, get1: mayFail },
  goals: ['no memory', FREED],
});

export const allocFailsMunmap = defineScenario<Subject>({
  ...allocFails,
  name: 'alloc-fails-munmap',
  about: 'the same, while a third task unmaps',
  tasks: { get0: mayFail, get1: mayFail, munmap },
});

export const registerInterrupted = race({
  name: 'register-interrupted',
  models: ['patch 1', 'patch 3'],
  about: 'a signal comes while get takes all locks, and another task gets too',
  faults: { signals: 1 },
  users: 0,
  tasks: { get0: mayFail, get1: get },
  goals: ['interrupted', 'get failed', FREED],
});

export const registerInterruptedMunmap = defineScenario<Subject>({
  ...registerInterrupted,
  name: 'register-interrupted-munmap',
  about: 'the same, while a third task unmaps',
  tasks: { get0: mayFail, get1: get, munmap },
  goals: ['interrupted', 'get failed', FREED, CALLED],
});

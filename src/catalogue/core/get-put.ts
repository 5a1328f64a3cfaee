/**
 * get and put against one another: `users` and being on the list change together, under one lock, so a
 * get takes a notifier that stays or makes another, and the last of several puts frees, once.
 */
import { defineScenario } from '../define-scenario.ts';
import { BOTH_GOALS, CALLED, FREED, get, munmap, put, race, type Subject } from './subject.ts';

export const getPut = race({
  name: 'get-put',
  models: ['patch 3'],
  about: 'the last put of a subscriber, while another task asks for it',
  users: 1,
  tasks: { put, get },
  goals: BOTH_GOALS,
});

export const getPutMunmap = defineScenario<Subject>({
  ...getPut,
  name: 'get-put-munmap',
  about: 'the same, while a third task walks the list: it may stand on a subscriber that was put',
  tasks: { put, get, munmap },
  goals: [...BOTH_GOALS, CALLED],
});

export const putPut = race({
  name: 'put-put',
  models: ['patch 3'],
  about: 'two users give the subscriber back at once: one of them frees it',
  users: 2,
  tasks: { put0: put, put1: put },
  goals: [FREED],
});

export const putPutMunmap = defineScenario<Subject>({
  ...putPut,
  name: 'put-put-munmap',
  about: 'the same, while a third task walks the list',
  tasks: { put0: put, put1: put, munmap },
  goals: [FREED, CALLED],
});

export const twoOwners = race({
  name: 'two-owners',
  models: ['patch 3'],
  about:
    'two owners of one ops table, each of which gets and puts: one subscriber, or one after another',
  users: 0,
  tasks: { owner0: get, owner1: get },
  goals: ['get made another', FREED],
});

export const threeOwners = defineScenario<Subject>({
  ...twoOwners,
  name: 'three-owners',
  about: 'the same with three',
  tasks: { owner0: get, owner1: get, owner2: get },
});

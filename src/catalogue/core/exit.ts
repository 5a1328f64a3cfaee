/**
 * get and put against the end of the mm. The mm's release unlinks every notifier whatever its users; a put
 * that comes later finds nothing to unlink and frees all the same. A get that comes later must not be: who
 * makes it cannot have the mm in use.
 */
import { selfPuttingOps, subscriberGet, subscriberPut } from '../../drivers/subscriber/index.ts';
import { goal } from '../../kernel/choose.ts';
import { isErr } from '../../kernel/err-ptr.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  CALLED,
  exit,
  FREED,
  getFromOutside,
  munmap,
  put,
  race,
  RELEASED,
  subject,
  unpin,
  type Subject,
} from './subject.ts';

export const getExit = race({
  name: 'get-exit',
  models: ['patch 3', 'I5'],
  about: 'a kernel thread gets a subscriber while the process exits',
  users: 0,
  tasks: { get: getFromOutside, exit },
  goals: ['get came too late', 'exit was before the put', 'exit was not before the put', RELEASED],
});

export const getPutExit = defineScenario<Subject>({
  ...getExit,
  name: 'get-put-exit',
  about: 'the same, while another user gives back what was there',
  setup: (machine) => subject(machine, 1),
  tasks: { get: getFromOutside, put, exit },
});

export const putExit = race({
  name: 'put-exit',
  models: ['patch 3'],
  about: 'the last put of a subscriber, while the process exits',
  users: 1,
  tasks: { put, exit },
  goals: [FREED, RELEASED],
});

export const putExitMunmap = defineScenario<Subject>({
  ...putExit,
  name: 'put-exit-munmap',
  about: 'the same, while a thread of the process unmaps',
  tasks: { put, exit, munmap },
  goals: [FREED, RELEASED, CALLED],
});

export const getAfterExit = defineScenario<Subject>({
  name: 'get-after-exit',
  models: ['patch 3', 'I5'],
  about: 'a kernel thread that only has the mm_struct pinned gets a subscriber',
  variants: {
    unpinned: {
      about: 'it takes the pin for the right to register',
      expect: {
        verdict: 'violation',
        kind: 'bug',
        object: 'atomic_read(&mm->mm_users) <= 0',
        invariant: 'I5',
      },
      alsoKnown: [
        {
          name: 'exit reads what registration, which should not be, stores',
          kind: 'data-race',
          object: 'mm_struct.mmu_notifier_mm',
        },
      ],
    },
    series: {
      about: 'it takes the mm into use, or learns that there is none any more',
      expect: { verdict: 'clean' },
    },
  },
  setup: (machine) => subject(machine, 0),
  tasks: {
    get: {
      *run(state, variant) {
        if (variant === 'series') {
          yield* getFromOutside.run(state, variant);
          return;
        }
        const s = yield* subscriberGet(state.mm);
        if (isErr(s)) return;
        goal('get was before exit');
        yield* subscriberPut(s);
      },
    },
    exit,
  },
  goals: ['get came too late'],
  finally: unpin,
});

export const getAfterExitPut = defineScenario<Subject>({
  ...getAfterExit,
  name: 'get-after-exit-put',
  about: 'the same, while another user gives back what was there',
  setup: (machine) => subject(machine, 1),
  tasks: { ...getAfterExit.tasks, put },
});

const RELEASED_AND_PUT = { name: 'release put', calls: 'subscriber_release_and_put' } as const;

export const putFromRelease = race({
  name: 'put-from-release',
  models: ['patch 3', 'patch 10'],
  about: 'release puts its own notifier, while another user puts the same',
  users: 2,
  ops: selfPuttingOps,
  tasks: { put, exit },
  goals: [RELEASED_AND_PUT, FREED],
});

export const putFromReleaseMunmap = defineScenario<Subject>({
  ...putFromRelease,
  name: 'put-from-release-munmap',
  about: 'the same, while a thread of the process unmaps',
  tasks: { put, exit, munmap },
  goals: [RELEASED_AND_PUT, FREED, CALLED],
});

/**
 * A notifier is ended in the way in which it began, and from where that may be waited for: what mmu_notifier_get made
 * by mmu_notifier_put, what was registered by mmu_notifier_unregister, which waits for whoever walks the list.
 */
import {
  selfPuttingOps,
  selfUnregisteringOps,
  subscriberGet,
  subscriberPut,
  subscriberRegister,
  subscriberUnregister,
  type Subscriber,
} from '../../drivers/subscriber/index.ts';
import { defineScenario } from '../define-scenario.ts';
import { CALLED, exit, munmap, subject, unpin, type Subject } from './subject.ts';

export const unregisterFromRelease = defineScenario<Subject>({
  name: 'unregister-from-release',
  models: ['I11'],
  about: 'release ends its own notifier, while a thread of the process unmaps',
  variants: {
    unregister: {
      about: 'by unregistering it, which waits for the walk that has called release',
      expect: {
        verdict: 'violation',
        kind: 'deadlock',
        object: 'mmu_notifier.srcu',
        invariant: 'I11',
      },
    },
    put: { about: 'by putting it, which waits for nobody', expect: { verdict: 'clean' } },
  },
  setup(machine, variant) {
    const made = subject(machine, 0);
    const begun =
      variant === 'put'
        ? subscriberGet(made.mm, selfPuttingOps)
        : subscriberRegister(made.mm, selfUnregisteringOps);
    return { ...made, first: machine.runNow(begun) as Subscriber };
  },
  tasks: { exit, munmap },
  goals: [CALLED],
  finally: unpin,
});

export const unregisterGot = defineScenario<Subject>({
  name: 'unregister-got',
  models: ['I2', 'patch 3'],
  about:
    'the one user of what mmu_notifier_get made has no use for it any more, while a thread unmaps',
  variants: {
    unregister: {
      about: 'as if it had registered it: neither users nor free_notifier are heard of',
      expect: {
        verdict: 'violation',
        kind: 'invariant',
        object: 'subscriber',
        invariant: 'I2',
      },
    },
    put: { expect: { verdict: 'clean' } },
  },
  setup: (machine) => subject(machine, 1),
  tasks: {
    owner: {
      *run({ first }, variant) {
        if (variant === 'put') yield* subscriberPut(first!);
        else yield* subscriberUnregister(first!);
      },
    },
    munmap,
  },
  goals: [CALLED],
  finally: unpin,
});

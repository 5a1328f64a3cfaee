/**
 * Patches 3 and 11: the last reference to a subscriber goes while another task walks the list.
 *
 * `mmu_notifier_unregister_no_release` takes the notifier off the list, and is no fence: who frees must wait
 * for the walkers himself. hmm forgot it, then open-coded it; with get and put it is the core's.
 */
import { subscriberGet, subscriberPut, type Subscriber } from '../../drivers/subscriber/index.ts';
import {
  hurriedOps,
  subscriberOpsV53,
  subscriberPutHurried,
  subscriberPutV53,
  subscriberRegisterV53,
  type SubscriberV53,
} from '../../drivers/subscriber/before-series.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';

const ADDRESS = 0x40_0000;

interface State {
  readonly process: Process;
  readonly mine: Subscriber | SubscriberV53;
}

export const lastPut = defineScenario<State>({
  name: 'last-put',
  models: ['patch 3', 'patch 11', 'B-3'],
  about: 'the last reference to a subscriber is dropped while another thread unmaps',
  variants: {
    'v5.2': {
      about: 'as hmm before 6d7c3cde93c1: freed as soon as it is off the list',
      expect: {
        verdict: 'violation',
        kind: 'use-after-free',
        object: 'subscriber',
        invariant: 'I1',
      },
    },
    'v5.3': {
      about: 'as hmm after it: kref_get_unless_zero in callbacks, freed by mmu_notifier_call_srcu',
      expect: { verdict: 'clean' },
    },
    series: { about: 'mmu_notifier_put', expect: { verdict: 'clean' } },
  },
  setup(machine, variant) {
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    const mm = process.mm!;
    const ops = variant === 'v5.2' ? hurriedOps : subscriberOpsV53;
    const mine =
      variant === 'series'
        ? machine.runNow(subscriberGet(mm))
        : machine.runNow(subscriberRegisterV53(mm, ops));
    return { process, mine: mine as Subscriber | SubscriberV53 };
  },
  tasks: {
    put: {
      cpu: 0,
      *run({ mine }, variant) {
        if (variant === 'series') yield* subscriberPut(mine as Subscriber);
        else if (variant === 'v5.3') yield* subscriberPutV53(mine as SubscriberV53);
        else yield* subscriberPutHurried(mine as SubscriberV53);
      },
    },
    munmap: {
      cpu: 1,
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: [{ name: 'the subscriber was called', calls: 'subscriber_invalidate_range_start' }],
});

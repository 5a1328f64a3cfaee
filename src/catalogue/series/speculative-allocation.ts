/**
 * Patch 2: registration allocates the list's head only when the mm has none.
 *
 * Before, it allocated one each time and freed it when it was not needed: a registration could fail for
 * memory that it had no use for.
 */
import { ENOMEM } from '../../base/errno.ts';
import { Subscriber, subscriberOps, subscriberRegister } from '../../drivers/subscriber/index.ts';
import type { TaskDefinition } from '../../check/scenario.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import type { Process } from '../../mm/process.ts';
import { mmuNotifierRegisterV53 } from '../../mmu-notifier/before-series.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { defineScenario } from '../define-scenario.ts';

interface State {
  readonly process: Process;
  readonly mine: readonly [Subscriber, Subscriber];
  /** Whether the mm has had a notifier before, so that nothing has to be allocated. */
  readonly hasHead: boolean;
}

const registerAndLeave = fn(function* registerAndLeave(
  { process, hasHead }: State,
  mine: Subscriber,
  variant: string,
) {
  const mm = process.mm!;
  const register = variant.startsWith('v5.3') ? mmuNotifierRegisterV53 : mmuNotifierRegister;
  const error = yield* register(mine.mn, mm);
  if (error === 0) {
    goal('registered');
    yield* mmuNotifierUnregister(mine.mn, mm);
    return;
  }
  if (error === -ENOMEM) goal('no memory');
  warnOn(hasHead, 'register fails for memory that it does not need');
});

function registering(index: 0 | 1): TaskDefinition<State> {
  return {
    *run(state, variant) {
      yield* registerAndLeave(state, state.mine[index], variant);
    },
  };
}

export const speculativeAllocation = defineScenario<State>({
  name: 'speculative-allocation',
  models: ['patch 2'],
  about: 'two tasks register on an mm that has had a notifier before, and one allocation fails',
  variants: {
    'v5.3': {
      about: 'a head is allocated each time, and mostly freed again',
      expect: {
        verdict: 'violation',
        kind: 'warn',
        object: 'register fails for memory that it does not need',
      },
    },
    'series-first': {
      about: 'without a notifier before: one of them allocates, and may fail',
      expect: { verdict: 'clean' },
    },
    series: { expect: { verdict: 'clean' } },
  },
  faults: { allocations: 1 },
  setup(machine, variant) {
    const process = machine.process();
    const hasHead = variant !== 'series-first';
    if (hasHead) machine.runNow(subscriberRegister(process.mm!));
    const mine = [
      allocateStatic(machine, Subscriber),
      allocateStatic(machine, Subscriber),
    ] as const;
    for (const { mn } of mine) mn.ops = subscriberOps;
    return { process, mine, hasHead };
  },
  tasks: { register0: registering(0), register1: registering(1) },
  goals: ['registered'],
});

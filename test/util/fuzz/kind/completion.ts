/**
 * Completions: by definition, what completes depends on what completes and on what asks whether it is
 * done; those who wait depend on each other. A wait comes after what completed it, the oldest first.
 */
import { ERESTARTSYS } from '../../../../src/base/errno.ts';
import {
  complete,
  completeAll,
  completion,
  completionDone,
  reinitCompletion,
  tryWaitForCompletion,
  waitForCompletion,
  waitForCompletionInterruptible,
  type Completion,
} from '../../../../src/kernel/completion.ts';
import type { Effect } from '../machine.ts';
import { asNumber, stepsOf, type FuzzOperation, type Kind, type Request } from './kind.ts';
import { SIGNAL } from './signal.ts';

interface Done {
  /** The steps that completed it and for which nobody has waited yet. */
  readonly steps: readonly number[];
  /** The step that let everyone through, or -1. */
  readonly allAt: number;
}

const DONE = 1;
const TAKEN = 2;
const BOTH = DONE | TAKEN;
const NOTHING: Done = { steps: [], allAt: -1 };

function completionOf({ state, key }: Request): Completion {
  return state[key] as Completion;
}

function isDone({ steps, allAt }: Done): boolean {
  return steps.length > 0 || allAt >= 0;
}

/** Takes what was completed, if anything was. */
function takeOne(value: Done, effect: Effect<Done>): Effect<Done> | null {
  if (!isDone(value)) return null;
  const [step = value.allAt, ...steps] = value.steps;
  return { ...effect, value: { ...value, steps }, after: 1 << step };
}

/** What asks, and changes nothing if nothing is done. */
function tryOne(value: Done, results: readonly [none: number, taken: number]): Effect<Done> {
  const [none, taken] = results;
  return (
    takeOne(value, { reads: DONE, writes: TAKEN, result: taken }) ?? { reads: BOTH, result: none }
  );
}

const COMPLETE: FuzzOperation = {
  name: 'complete',
  steps: stepsOf<Done>({
    take({ value, now }) {
      if (value.allAt >= 0) return { writes: DONE };
      return { writes: DONE, value: { ...value, steps: [...value.steps, now] } };
    },
  }),
  run: (request) => complete(completionOf(request)),
};

const WAIT: FuzzOperation = {
  name: 'wait_for_completion',
  steps: stepsOf<Done>({
    take: ({ value }) => takeOne(value, { writes: TAKEN }),
    maySleep: true,
  }),
  run: (request) => waitForCompletion(completionOf(request)),
};

export const COMPLETION: Kind = {
  prefix: 'd',
  initial: NOTHING as unknown as number,
  show(value) {
    const { steps, allAt } = value as unknown as Done;
    return allAt >= 0 ? -1 - steps.length : steps.length;
  },
  field: completion,
  valueOf(state, key) {
    const { doneSteps, isDoneForAll } = state[key] as Completion;
    return isDoneForAll ? -1 - doneSteps.length : doneSteps.length;
  },
  acquisitions: [],
  operations: [
    COMPLETE,
    COMPLETE,
    WAIT,
    WAIT,
    {
      name: 'complete_all',
      steps: stepsOf<Done>({
        take({ value, now }) {
          return { writes: DONE, value: value.allAt >= 0 ? value : { ...value, allAt: now } };
        },
      }),
      run: (request) => completeAll(completionOf(request)),
    },
    {
      name: 'reinit_completion',
      steps: stepsOf<Done>({ take: () => ({ writes: BOTH, value: NOTHING }) }),
      run: (request) => reinitCompletion(completionOf(request)),
    },
    {
      name: 'completion_done',
      steps: stepsOf<Done>({
        take: ({ value }) => ({ reads: BOTH, result: isDone(value) ? 1 : 0 }),
      }),
      run: (request) => completionDone(completionOf(request)),
      told: asNumber,
    },
    {
      name: 'try_wait_for_completion',
      steps: stepsOf<Done>({ take: ({ value }) => tryOne(value, [0, 1]) }),
      run: (request) => tryWaitForCompletion(completionOf(request)),
      told: asNumber,
    },
    {
      name: 'wait_for_completion_interruptible',
      steps: [
        SIGNAL,
        ...stepsOf<Done>({
          take({ value, hasSignal }) {
            if (hasSignal) return tryOne(value, [1, 0]);
            return takeOne(value, { writes: TAKEN, result: 0 });
          },
          maySleep: true,
        }),
      ],
      run: (request) => waitForCompletionInterruptible(completionOf(request)),
      told: (result) => (result === -ERESTARTSYS ? 1 : 0),
    },
  ],
};

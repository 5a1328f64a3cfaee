/** Other orders of the steps of an execution that are orders of the same trace. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { Execution } from '../../src/check/exploration.ts';

const PRIORITY_MAX = 1000;
/** One step in so many makes its task more or less urgent. */
const CHANGE_EVERY = 8;

/**
 * A linear extension of the execution's order: its steps, each after all that its clock has. The task that is most
 * urgent goes first, which moves whole stretches and not single steps.
 */
export function linearExtension(
  { schedule: { tasks }, clockOf, kernel }: Execution,
  random: RandomGenerator,
): number[] {
  const before = tasks.map((_, step) => stepsBefore(step, tasks, clockOf(step)));
  const urgency = kernel.tasks.map(() => uniformInt(random, 0, PRIORITY_MAX));
  const isDone = tasks.map(() => false);
  const order: number[] = [];
  let left = tasks.map((_, step) => step);
  while (left.length > 0) {
    const ready = left.filter((step) => before[step]?.every((one) => isDone[one] === true));
    const next = mostUrgent(ready, (step) => urgency[tasks[step] as number] as number);
    if (uniformInt(random, 1, CHANGE_EVERY) === 1) {
      urgency[tasks[next] as number] = uniformInt(random, 0, PRIORITY_MAX);
    }
    isDone[next] = true;
    order.push(next);
    left = left.filter((step) => step !== next);
  }
  return order;
}

function stepsBefore(step: number, tasks: readonly number[], clock: ArrayLike<number>): number[] {
  const found: number[] = [];
  for (let task = 0; task < clock.length; task += 1) {
    const last = (clock[task] as number) - 1;
    if (last >= 0 && last !== step) found.push(last);
  }
  const own = step === 0 ? -1 : tasks.lastIndexOf(tasks[step] as number, step - 1);
  if (own >= 0) found.push(own);
  return found;
}

function mostUrgent(steps: readonly number[], urgencyOf: (step: number) => number): number {
  return steps.reduce((best, step) => (urgencyOf(step) > urgencyOf(best) ? step : best));
}

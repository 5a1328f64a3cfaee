/**
 * Bare re-execution: what it costs to run a program at all, without any exploration. It is what the rates
 * of explorers are compared with.
 *
 * The same task functions and the same objects, built anew each time by the scenario's set-up; but no
 * scheduler, no engine, no order, no checks: each operation is answered at once, task after task. Nobody
 * can be faster who executes the program.
 */
import { PROGRAM_VARIANT } from '../src/catalogue/define-program.ts';
import type { AnyScenario } from '../src/check/scenario.ts';
import { Kernel, NO_FAULTS } from '../src/kernel/kernel.ts';
import { DELIVERED, RESUME, type Body, type Operation } from '../src/kernel/operation.ts';
import { setRunning } from '../src/kernel/running.ts';

/** A kernel that only remembers what argument the last operation was made with. */
class BareKernel extends Kernel {
  argument: unknown = undefined;

  override noteMade(_item: unknown, argument: unknown): void {
    this.argument = argument;
  }
}

const BOOT = { budget: NO_FAULTS, watches: [], tracer: null };

/** Runs the program once, its tasks one after the other; returns the number of steps. */
export function executeBare(scenario: AnyScenario): number {
  const kernel = new BareKernel(BOOT);
  const before = setRunning(kernel);
  const state = scenario.setup(kernel, PROGRAM_VARIANT);
  const task = kernel.ownTask;
  let steps = 0;
  for (const name in scenario.tasks) {
    const body = (scenario.tasks[name] as AnyScenario['tasks'][string]).run(state, PROGRAM_VARIANT);
    for (let next = body.next(RESUME); next.done !== true; next = body.next(RESUME)) {
      task.argument = kernel.argument;
      DELIVERED.value = (next.value as Operation<unknown>).perform(task, 0);
      steps += 1;
    }
  }
  setRunning(before);
  return steps;
}

/**
 * The same through the engine, as a user of the package would write it: each task takes all its steps
 * before the next begins. What this costs more than {@link executeBare} is the engine's own part.
 */
export function executeByEngine(scenario: AnyScenario): number {
  const kernel = scenario.boot(BOOT);
  const before = setRunning(kernel);
  const state = scenario.setup(kernel, PROGRAM_VARIANT);
  for (const name in scenario.tasks) {
    const definition = scenario.tasks[name] as AnyScenario['tasks'][string];
    const body = (): Body<unknown> => definition.run(state, PROGRAM_VARIANT);
    const task = kernel.spawn(name, 'thread', null, body);
    while (!task.isDone) kernel.step(task, 0);
  }
  setRunning(before);
  return kernel.stepCount;
}

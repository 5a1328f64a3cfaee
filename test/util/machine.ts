/** Runs code on a machine without exploring: each task as far as it comes, in order. */
import type { Finding } from '../../src/kernel/finding.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { NO_FAULTS, type Budget } from '../../src/kernel/kernel.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Behaviour } from '../../src/mm/behaviour.ts';
import { bootMachine, type Machine } from '../../src/mm/machine.ts';

export interface Ran {
  readonly machine: Machine;
  readonly findings: readonly Finding[];
}

/**
 * Boots a machine and runs the bodies as tasks, the first that can go on first. `outcomes` says how
 * the steps that can turn out in several ways do, in the order in which they come; then the first way.
 */
export function runOnMachine(
  bodies: (machine: Machine) => (() => Body<unknown>)[],
  options: {
    readonly budget?: Partial<Budget>;
    readonly outcomes?: readonly number[];
    readonly behaviour?: Partial<Behaviour>;
    /** Works and devices go first, and the bodies only when none of those can go on. */
    readonly bodiesLast?: boolean;
  } = {},
): Ran {
  const machine = bootMachine({
    budget: { ...NO_FAULTS, ...options.budget },
    watches: allDetectors(),
    tracer: null,
    behaviour: options.behaviour ?? {},
  });
  const outcomes = [...(options.outcomes ?? [])];
  const before = setRunning(machine);
  const tasks = bodies(machine);
  for (const [index, body] of tasks.entries()) machine.spawn(`task ${index}`, 'thread', null, body);
  for (;;) {
    const canGoOn = machine.tasks.filter((candidate) => machine.isEnabled(candidate));
    const other = canGoOn.find(({ kind }) => options.bodiesLast === true && kind !== 'thread');
    const task = other ?? canGoOn[0];
    if (task === undefined) break;
    const arity = task.pending?.arity(task) ?? 1;
    machine.step(task, arity > 1 ? (outcomes.shift() ?? 0) : 0);
  }
  machine.finish();
  machine.end();
  setRunning(before);
  return { machine, findings: machine.findings };
}

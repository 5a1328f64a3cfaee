/**
 * What a fuzz program comes to with few preemptions, two ways: of every interleaving by definition, with
 * the preemptions counted on the machine, and what the bounded explorer executes.
 */
import { BoundedDpor } from '../../../src/check/bounded-dpor.ts';
import type { ExploreOptions } from '../../../src/check/exploration.ts';
import type { Program, Schedule } from '../../../src/check/program.ts';
import { PAUSE } from '../../../src/kernel/kernel.ts';
import type { Kernel } from '../../../src/kernel/kernel.ts';
import { Machine } from './machine.ts';
import { forMachine, MEMORY_NAME, onKernel, type FuzzProgram } from './program.ts';

/** An explorer, as BoundedDpor is one. */
export type BoundedClass = new (
  program: Program,
  preemptionCountMax: number,
  options?: ExploreOptions,
) => Pick<BoundedDpor, 'run'>;

/** For each trace the preemptions that its best interleaving has. */
export type Needs = ReadonlyMap<string, number>;

class TooMany extends Error {}

/** Of every interleaving; null if there are more than `countMax`. */
export function needsOf(program: FuzzProgram, countMax: number): Needs | null {
  const machine = new Machine(forMachine(program));
  const needs = new Map<string, number>();
  let interleavings = 0;

  const visit = (last: number, count: number): void => {
    const enabled = machine.code.map((_, task) => machine.choices(task));
    if (enabled.every((choices) => choices === 0)) {
      interleavings += 1;
      if (interleavings > countMax) throw new TooMany();
      const key = machine.traceKey();
      needs.set(key, Math.min(count, needs.get(key) ?? Infinity));
      return;
    }
    const saved = machine.save();
    for (const [task, choices] of enabled.entries()) {
      const isPreemption = last >= 0 && task !== last && (enabled[last] as number) > 0;
      for (let outcome = 0; outcome < choices; outcome += 1) {
        machine.take(task, outcome);
        visit(task, isPreemption ? count + 1 : count);
        machine.restore(saved);
      }
    }
  };

  try {
    visit(-1, 0);
  } catch (error) {
    if (error instanceof TooMany) return null;
    throw error;
  }
  return needs;
}

interface Followed {
  readonly key: string;
  readonly preemptions: number;
}

function follow(
  machine: Machine,
  schedule: Schedule,
  taskOf: (index: number) => number,
): Followed | null {
  let last = -1;
  let preemptions = 0;
  for (const [at, index] of schedule.tasks.entries()) {
    const task = taskOf(index);
    if (last >= 0 && task !== last && machine.choices(last) > 0) preemptions += 1;
    if (!machine.take(task, (schedule.outcomes[at] ?? 0) & ~PAUSE)) return null;
    last = task;
  }
  return { key: machine.traceKey(), preemptions };
}

export interface BoundedRun {
  readonly fault: string | null;
  readonly executions: number;
  readonly wasCut: boolean;
}

/** Explores with a bound and compares with what there is within it by definition. */
export function exploreBounded(
  program: FuzzProgram,
  needs: Needs,
  bound: number,
  Explorer: BoundedClass = BoundedDpor,
): BoundedRun {
  const { program: subject, taskOf } = onKernel(program);
  const definition = forMachine(program);
  const seen = new Set<string>();
  let fault: string | null = null;
  const explorer = new Explorer(subject, bound, {
    stepCountMax: 100,
    executionCountMax: 100_000,
    ...(program.isVisible ? { visibleMemory: new Set([MEMORY_NAME]) } : {}),
    onExecution({ kernel, schedule }: { kernel: Kernel; schedule: Schedule }) {
      const found = follow(new Machine(definition), schedule, (index) => taskOf(kernel, index));
      if (found === null) fault ??= `cannot be followed: ${schedule.tasks.join(' ')}`;
      else if (found.preemptions > bound) {
        fault ??= `${found.preemptions} preemptions in ${schedule.tasks.join(' ')}`;
      } else seen.add(found.key);
      return fault !== null;
    },
  });
  const { executions, wasCut, isComplete } = explorer.run();
  if (!isComplete) fault ??= 'did not end';
  for (const [key, count] of needs) {
    if (count <= bound && !seen.has(key)) {
      fault ??= `bound ${bound}: never executed: ${key}, which needs ${count} preemptions`;
    }
    if (!wasCut && count > bound) fault ??= `bound ${bound} left out ${key} and did not say so`;
  }
  return { fault, executions, wasCut };
}

/**
 * Programs of tasks and interrupt handlers, all of whose interleavings are run to count preemptions: what
 * the bounded explorer is measured against where fuzz programs have no word for it.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { BoundedDpor } from '../../src/check/bounded-dpor.ts';
import { PreemptionCounter, preemptionsOf } from '../../src/check/preemption.ts';
import type { Program, Schedule } from '../../src/check/program.ts';
import { programOf, type TaskDefinition } from '../../src/check/scenario.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { Kernel } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { localIrqRestore, localIrqSave } from '../../src/kernel/preempt.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { spinlock, spinLock, spinUnlock } from '../../src/kernel/spinlock.ts';
import { struct, type Instance } from '../../src/kernel/struct.ts';
import { traceKey } from './brute-force.ts';

/** Every interleaving: the preemptions that each trace needs, or null if there are too many. */
export function needsOnKernel(program: Program, countMax: number): Map<string, number> | null {
  const needs = new Map<string, number>();
  const path: number[][] = [];
  let interleavings = 0;
  do {
    const kernel = program.start([], null);
    const before = setRunning(kernel);
    const counter = new PreemptionCounter();
    for (let depth = 0; ; depth += 1) {
      path[depth] ??= kernel.tasks.filter((one) => kernel.isEnabled(one)).map((one) => one.index);
      const task = kernel.tasks[path[depth]?.at(-1) ?? -1];
      if (task === undefined) break;
      counter.note(kernel, task);
      kernel.step(task, 0);
    }
    setRunning(before);
    interleavings += 1;
    if (interleavings > countMax) return null;
    path.pop();
    const tasks = path.map((choices) => choices.at(-1) as number);
    const key = traceKey(program, { tasks, outcomes: [] });
    needs.set(key, Math.min(counter.count, needs.get(key) ?? Infinity));
    for (; path.length > 0; path.pop()) {
      path.at(-1)?.pop();
      if ((path.at(-1)?.length ?? 0) > 0) break;
    }
  } while (path.length > 0);
  return needs;
}

export interface BoundedOnKernel {
  readonly keys: ReadonlySet<string>;
  readonly wasCut: boolean;
}

/** The traces that the explorer executes within the bound; an execution beyond it is an error. */
export function boundedOnKernel(program: Program, bound: number): BoundedOnKernel {
  const schedules: Schedule[] = [];
  const { wasCut } = new BoundedDpor(program, bound, {
    onExecution: ({ schedule }) => {
      schedules.push(schedule);
      return false;
    },
  }).run();
  for (const schedule of schedules) {
    if (preemptionsOf(program, schedule) > bound) throw new Error(schedule.tasks.join(' '));
  }
  return { keys: new Set(schedules.map((schedule) => traceKey(program, schedule))), wasCut };
}

const FIELDS = { x: 0, y: 0, lock: spinlock() };
type Shared = Instance<typeof FIELDS>;
type Word =
  | 'read x'
  | 'write x'
  | 'read y'
  | 'write y'
  | 'lock'
  | 'unlock'
  | 'irqs off'
  | 'irqs on';

function bodyOf(words: readonly Word[]): (s: Shared) => Body<unknown> {
  return function* run(s) {
    const flags: number[] = [];
    for (const word of words) {
      if (word === 'read x') yield* readOnce(s, 'x');
      else if (word === 'read y') yield* readOnce(s, 'y');
      else if (word === 'write x') yield* writeOnce(s, 'x', 1);
      else if (word === 'write y') yield* writeOnce(s, 'y', 1);
      else if (word === 'lock') yield* spinLock(s.lock);
      else if (word === 'unlock') yield* spinUnlock(s.lock);
      else if (word === 'irqs off') flags.push(yield* localIrqSave());
      else yield* localIrqRestore(flags.pop() ?? 0);
    }
  };
}

/** A random program of threads and interrupt handlers on two CPUs, and what it is in words. */
export function interruptProgram(seed: number): { program: Program; text: string } {
  const random = xoroshiro128plus((seed * 0x9e3779b9) | 0);
  const from = (min: number, max: number): number => uniformInt(random, min, max);
  const wordsOf = (length: number): Word[] => {
    const words: Word[] = [];
    const open: Word[] = [];
    for (let left = length; left > 0; left -= 1) {
      const kind = from(0, 9);
      if (kind < 6)
        words.push((['read x', 'write x', 'read y', 'write y'] as const)[from(0, 3)] as Word);
      else if (open.length > 0) words.push(open.pop() as Word);
      else {
        const isLock = from(0, 1) === 0;
        words.push(isLock ? 'lock' : 'irqs off');
        open.push(isLock ? 'unlock' : 'irqs on');
      }
    }
    return [...words, ...open.toReversed()];
  };
  const tasks: Record<string, TaskDefinition<Shared>> = {};
  const lines: string[] = [];
  const count = from(2, 3);
  for (let at = 0; at < count; at += 1) {
    const isInterrupt = at > 0 && from(0, 1) === 0;
    const words = wordsOf(from(1, isInterrupt ? 2 : 4));
    const cpu = from(0, 2);
    const name = `${isInterrupt ? 'irq' : 't'}${at}`;
    tasks[name] = {
      run: bodyOf(words),
      ...(cpu === 2 ? {} : { cpu }),
      ...(isInterrupt ? { kind: 'interrupt' } : {}),
    };
    lines.push(`${name} on CPU ${cpu === 2 ? 'of its own' : cpu}: ${words.join(', ')}`);
  }
  const type = struct('s', FIELDS);
  const program = programOf(
    {
      name: 'interrupts',
      variants: { v: {} },
      boot: (options) => new Kernel(options),
      setup: (kernel: Kernel) => allocateStatic(kernel, type),
      tasks,
    },
    'v',
  );
  return { program, text: lines.join('\n') };
}

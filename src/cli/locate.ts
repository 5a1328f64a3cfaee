/**
 * Finds the line of a user's file that an error is about.
 *
 * Exploration takes no stacks, which would cost more than all the rest. So, from cheap to dear: the
 * stack of the error or of what caused it; where the generators of the last execution stand; the same
 * steps once more, this time with the stack of everything that is made.
 */
import type { Program, Schedule } from '../check/program.ts';
import { replay } from '../check/replay.ts';
import type { UsageError } from '../base/usage-error.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { Tracer } from '../kernel/watch.ts';
import { CodeStack, withLongStacks } from '../trace/code-place.ts';
import { generatorPlace } from './generator-place.ts';
import { modelPlace, resolvePlace } from './place.ts';

export interface Scene {
  readonly error: UsageError & { readonly schedule?: Schedule };
  readonly program: Program;
  /** The kernel in which it happened, or null if none was booted. */
  readonly kernel: Kernel | null;
}

/** `driver.ts:12`, or null if no line can be found. */
export function locate({ error, program, kernel }: Scene): string | null {
  if (error.place !== null) return error.place;
  if (error.code === 'MN202') return placeOfLastMade(program, error.schedule ?? NOTHING);
  const stacks = [error.cause, error].map((one) => (one instanceof Error ? (one.stack ?? '') : ''));
  for (const stack of stacks) {
    const place = modelPlace(stack);
    if (place !== null) return place;
  }
  if (kernel === null) return null;
  const raw = generatorPlace(concerned(kernel, error));
  return raw === null ? null : resolvePlace(raw);
}

const NOTHING: Schedule = { tasks: [], outcomes: [] };

/** The task that the error is about: the busiest of an endless execution, else the present one. */
function concerned(kernel: Kernel, error: Scene['error']): Task {
  if (error.code !== 'MN205') return kernel.currentTask;
  const counts = new Map<number, number>();
  for (const task of error.schedule?.tasks ?? []) counts.set(task, (counts.get(task) ?? 0) + 1);
  const [busiest] = [...counts].toSorted((a, b) => b[1] - a[1])[0] ?? [0];
  return kernel.tasks[busiest] ?? kernel.currentTask;
}

/** Takes the same steps again and tells where the last operation or call was made. */
function placeOfLastMade(program: Program, schedule: Schedule): string | null {
  let last: CodeStack | null = null;
  const tracer: Tracer = {
    onMade: () => {
      last = new CodeStack();
    },
    onStep: () => {},
    onResult: () => {},
    onCall: () => {},
    onReturn: () => {},
    onNote: () => {},
  };
  return withLongStacks(() => {
    try {
      replay(program, schedule, { tracer, toEnd: true });
    } catch {
      // The error that is being looked for.
    }
    const raw = (last as CodeStack | null)?.place ?? null;
    return raw === null ? null : resolvePlace(raw);
  });
}

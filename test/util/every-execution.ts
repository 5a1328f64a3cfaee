/** Every execution of a program, by plain enumeration: what is easiest by definition. */
import { PreemptionCounter } from '../../src/check/preemption.ts';
import type { Program } from '../../src/check/program.ts';
import { identityOf, isOfWhole } from '../../src/check/shorten.ts';
import { isEasier, type Effort } from '../../src/check/trial.ts';
import { setRunning } from '../../src/kernel/running.ts';
import type { Watch } from '../../src/kernel/watch.ts';

/** For each finding the least effort with which it can be shown; null if there is too much to run. */
export function leastEfforts(
  program: Program,
  watches: readonly Watch[],
  countMax: number,
): Map<string, Effort> | null {
  const least = new Map<string, Effort>();
  const path: (readonly [task: number, outcome: number])[][] = [];
  let executions = 0;
  do {
    const kernel = program.start(watches, null);
    const before = setRunning(kernel);
    const counter = new PreemptionCounter();
    const tasks: number[] = [];
    let switches = 0;
    let choices = 0;
    let seen = 0;
    const note = (isOver: boolean): void => {
      const effort: Effort = {
        preemptions: counter.count,
        switches,
        tasks: new Set(tasks).size,
        steps: tasks.length,
        choices,
      };
      for (; seen < kernel.findings.length; seen += 1) {
        const finding = kernel.findings[seen];
        if (finding === undefined || isOfWhole(finding) !== isOver) continue;
        const identity = identityOf(finding);
        const known = least.get(identity);
        if (known === undefined || isEasier(effort, known)) least.set(identity, effort);
      }
    };
    for (let depth = 0; ; depth += 1) {
      path[depth] ??= kernel.tasks
        .filter((task) => kernel.isEnabled(task))
        .flatMap((task) =>
          Array.from(
            { length: task.pending?.arity(task) ?? 1 },
            (_, outcome) => [task.index, outcome] as const,
          ),
        );
      const [index, outcome] = path[depth]?.at(-1) ?? [-1, 0];
      const task = kernel.tasks[index];
      if (task === undefined) break;
      counter.note(kernel, task);
      if (tasks.length > 0 && tasks.at(-1) !== index) switches += 1;
      if (outcome > 0) choices += 1;
      tasks.push(index);
      kernel.step(task, outcome);
      note(false);
    }
    setRunning(before);
    kernel.finish();
    program.finish(kernel);
    kernel.end();
    note(true);
    executions += 1;
    if (executions > countMax) return null;
    path.pop();
    for (; path.length > 0; path.pop()) {
      path.at(-1)?.pop();
      if ((path.at(-1)?.length ?? 0) > 0) break;
    }
  } while (path.length > 0);
  return least;
}

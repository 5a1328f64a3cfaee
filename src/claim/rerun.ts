/** An execution that is repeated to look at it: who held what when, and what orders its steps. */
import { assert } from '../base/assert.ts';
import type { Schedule } from '../check/program.ts';
import { TraceOrder, type Step } from '../check/trace-order.ts';
import { PAUSE, type Kernel } from '../kernel/kernel.ts';
import { setRunning } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import { EventLog } from './event-log.ts';
import type { Subject } from './subject.ts';

/** An execution, run once more with everything that orders its steps. */
export class Rerun {
  readonly log: EventLog;
  readonly order: TraceOrder;
  kernel!: Kernel;
  /** For each step, what its task held after it. */
  readonly held: (readonly string[])[] = [];

  constructor(subject: Subject, schedule: Schedule) {
    this.log = new EventLog(subject.table, subject.logOptions);
    this.order = new TraceOrder(subject.visible !== null);
    const kernel = subject.program(this.log).start([this.log], this.log);
    this.kernel = kernel;
    kernel.visibleMemory = subject.visible;
    const before = setRunning(kernel);
    try {
      this.order.start(kernel);
      for (const [at, index] of schedule.tasks.entries()) {
        const task = kernel.tasks[index];
        assert(
          task !== undefined && kernel.isEnabled(task),
          'an explored execution can be repeated',
        );
        this.order.take(task, (schedule.outcomes[at] ?? 0) & ~PAUSE);
        this.held.push(heldBy(task));
      }
      this.log.close(kernel);
    } finally {
      setRunning(before);
    }
  }

  step(at: number): Step {
    return this.order.steps[at] as Step;
  }

  taskOf(step: number): Task {
    return this.kernel.tasks[this.step(step).task] as Task;
  }

  text(step: number): string {
    return this.log.descriptionOf(step);
  }

  /** What the task of a step held before it. */
  heldBefore(step: number): readonly string[] {
    const { task } = this.step(step);
    for (let at = step - 1; at >= 0; at -= 1) {
      if (this.step(at).task === task) return this.held[at] as readonly string[];
    }
    return [];
  }

  /** The step from which on the task held `path`, up to `until`. */
  heldSince(path: string, until: number): number {
    const { task } = this.step(until);
    let since = until;
    for (let at = until - 1; at >= 0; at -= 1) {
      if (this.step(at).task !== task) continue;
      if (!(this.held[at] as readonly string[]).includes(path)) break;
      since = at;
    }
    return since;
  }
}

function heldBy(task: Task): string[] {
  return [...task.heldLocks, ...task.readSections].map((held) => held.path);
}

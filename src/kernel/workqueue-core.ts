/**
 * struct workqueue_struct: the runs on a queue, and waiting for them. See workqueue.ts.
 */
import { perKernel, type Kernel } from './kernel.ts';
import { LockClass } from './lock-class.ts';
import { touchMap, type Waitable } from './lock-map.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { access, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import { instantiate, struct } from './struct.ts';
import type { Task } from './task.ts';
import { insertAccess, tasksOf, type WorkRun } from './work.ts';

/** struct workqueue_struct: runs work items on threads of its own. */
export class Workqueue extends KernelObject {
  name = 'workqueue';
  isOrdered = false;
  /** True from destroy_workqueue on. */
  isDraining = false;
  /** All runs that were ever put on it; those that are over are remembered for their order. */
  readonly runs: WorkRun[] = [];
  private known: Waitable | null = null;
  readonly flushOperation = new FlushQueue(this);
  readonly drainOperation = new DrainQueue(this);
  readonly waitOperation = new WaitForRuns(this);
  readonly drainedOperation = new WaitUntilEmpty(this);

  /** What lockdep knows it by. Its class is its name: two queues of one name are one to lockdep. */
  get waitable(): Waitable {
    this.known ??= {
      path: this.name,
      lock: this,
      lockClass: new LockClass({ name: `(wq_completion)${this.name}`, isLock: false }),
    };
    return this.known;
  }

  /** What putting a run on it touches. */
  insertFootprint(out: Access[]): void {
    out.push(insertAccess(this.variable, this.isOrdered));
  }

  /** Whether a run may be put on it now: not while it is drained, except by its own runs. */
  accepts(): boolean {
    running.touch(this.memory, this.name);
    if (!this.isDraining) return true;
    const task = running.currentTask;
    if (this.runs.some((run) => run.stage === 'running' && run.task === task)) return true;
    running.assertion('WARN_ON', `queue_work on ${this.name}, which is being destroyed`);
    return false;
  }
}

export const WorkqueueStruct = struct('workqueue_struct', {
  queue: new FieldSpec(1, (at: Placement) => new Workqueue(at)),
});

const systemQueue = perKernel((kernel: Kernel) => {
  const { variables, name } = WorkqueueStruct;
  const { queue } = instantiate(
    WorkqueueStruct,
    kernel.makeMemory(name, 'static', variables, null),
  );
  queue.name = 'system_wq';
  return queue;
}, WorkqueueStruct.variables);

/** `system_wq`, the queue that is always there. */
export function systemWq(): Workqueue {
  return systemQueue(running);
}

abstract class QueueOperation<R> extends Operation<R> {
  override readonly maySleep = true;
  readonly queue: Workqueue;

  constructor(queue: Workqueue) {
    super(queue.memory);
    this.queue = queue;
  }

  abstract override footprint(out: Access[]): void;
}

class FlushQueue extends QueueOperation<readonly WorkRun[]> {
  footprint(out: Access[]): void {
    out.push(access(this.queue.variable, READ));
  }

  perform(task: Task): readonly WorkRun[] {
    touchMap(task, this.queue.waitable);
    return this.queue.runs.slice();
  }

  describe(): string {
    return `flush_workqueue(${this.queue.name})`;
  }
}

class WaitForRuns extends QueueOperation<void> {
  footprint(): void {
    // The runs only ever let it go on.
  }

  override isEnabled(task: Task): boolean {
    return (task.argument as readonly WorkRun[]).every((run) => run.isOver);
  }

  perform(task: Task): void {
    for (const run of task.argument as readonly WorkRun[]) running.requires(run.endStep);
  }

  describe(): string {
    return `flush_workqueue(${this.queue.name}): done`;
  }

  override blockers(task: Task): readonly Task[] {
    return tasksOf(task.argument as readonly WorkRun[]);
  }
}

class DrainQueue extends QueueOperation<void> {
  footprint(out: Access[]): void {
    out.push(access(this.queue.variable, WRITE));
  }

  perform(task: Task): void {
    touchMap(task, this.queue.waitable);
    this.queue.isDraining = true;
  }

  describe(): string {
    return `destroy_workqueue(${this.queue.name})`;
  }
}

class WaitUntilEmpty extends QueueOperation<void> {
  footprint(): void {
    // Whatever is queued now is queued by runs that it waits for.
  }

  override isEnabled(): boolean {
    return this.queue.runs.every((run) => run.isOver);
  }

  perform(): void {
    for (const run of this.queue.runs) running.requires(run.endStep);
  }

  describe(): string {
    return `destroy_workqueue(${this.queue.name}): empty`;
  }

  override blockers(): readonly Task[] {
    return tasksOf(this.queue.runs);
  }
}

/**
 * Queueing, flushing and cancelling single work items. See workqueue.ts.
 *
 *     CPU0                                   kworker
 *     cancel_work_sync()                     func()
 *       clears pending, refuses queueing       queue_work() of itself: false
 *       waits for func()                     done
 *       allows queueing again
 */
import { fn } from './call.ts';
import { touchMap } from './lock-map.ts';
import { access, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';
import { startRun, tasksOf, type DelayedWork, type WorkRun, type WorkStruct } from './work.ts';
import { systemWq, type Workqueue } from './workqueue-core.ts';

interface QueueRequest {
  readonly queue: Workqueue;
  /** The first words of the description. */
  readonly call: string;
  /** Jiffies; only whether it is 0 matters. */
  readonly delay: number;
}

abstract class WorkOperation<R> extends Operation<R> {
  override readonly footprintVaries = true;
  readonly work: WorkStruct;

  constructor(work: WorkStruct) {
    super(work.memory);
    this.work = work;
  }

  footprint(out: Access[], _task: Task): void {
    const { pending, variable } = this.work;
    out.push(access(variable, WRITE));
    if (pending !== null) out.push(access(pending.variable, WRITE));
  }

  describe(task: Task): string {
    return `${String(task.argument)}(&${this.work.path})`;
  }
}

/** Starts a run, now or when its timer fires. */
function enqueue(work: WorkStruct, { queue, delay }: QueueRequest): void {
  if (delay > 0) startRun(work, queue, 'timer');
  else if (queue.accepts()) startRun(work, queue, 'queued');
}

function enqueueFootprint(work: WorkStruct, { queue, delay }: QueueRequest, out: Access[]): void {
  if (delay > 0) return;
  out.push(access(work.variable + 1, WRITE));
  queue.insertFootprint(out);
}

class QueueWork extends WorkOperation<boolean> {
  override footprint(out: Access[], task: Task): void {
    const { work } = this;
    out.push(access(work.variable, WRITE));
    if (work.pending !== null || work.cancelCount > 0) return;
    enqueueFootprint(work, task.argument as QueueRequest, out);
  }

  perform(task: Task): boolean {
    const { work } = this;
    if (work.pending !== null || work.cancelCount > 0) {
      work.pending?.attemptSteps.push(running.now);
      return false;
    }
    enqueue(work, task.argument as QueueRequest);
    return true;
  }

  override describe(task: Task): string {
    const { queue, call, delay } = task.argument as QueueRequest;
    const parts = [queue.name, `&${this.work.path}`];
    if (call.startsWith('schedule')) parts.shift();
    if (call.includes('delayed')) parts.push(String(delay));
    return `${call}(${parts.join(', ')})`;
  }
}

/** As queue_delayed_work, but what is pending starts anew. */
class ModDelayedWork extends QueueWork {
  override footprint(out: Access[], task: Task): void {
    const { work } = this;
    const { pending } = work;
    const request = task.argument as QueueRequest;
    out.push(access(work.variable, WRITE));
    if (work.cancelCount > 0 || keepsTimer(work, request)) return;
    if (pending !== null) out.push(access(pending.variable, WRITE));
    enqueueFootprint(work, request, out);
  }

  override perform(task: Task): boolean {
    const { work } = this;
    const request = task.argument as QueueRequest;
    if (work.cancelCount > 0) return false;
    const wasPending = work.pending !== null;
    if (keepsTimer(work, request)) {
      work.pending?.attemptSteps.push(running.now);
      return true;
    }
    work.pending?.cancel();
    enqueue(work, request);
    return wasPending;
  }
}

/** A timer that fires at any later moment need not be stopped to fire at another later moment. */
function keepsTimer({ pending }: WorkStruct, { delay }: QueueRequest): boolean {
  return delay > 0 && pending?.stage === 'timer';
}

/** A queue that is not there is a NULL dereference of whoever queues, not of the engine that asks what it touches. */
function checkThere({ queue, call }: QueueRequest): void {
  if ((queue as Workqueue | null) === null) running.badPointer('NULL', `${call}()`);
}

function queueOperation(work: WorkStruct, request: QueueRequest): Operation<boolean> {
  checkThere(request);
  return made(
    work.operation('queue', () => new QueueWork(work)),
    request,
  );
}

/**
 * `queue_work(queue, work)`: false if it was pending already, or someone is in cancel_work_sync. Never
 * sleeps.
 */
export function queueWork(queue: Workqueue, work: WorkStruct): Operation<boolean> {
  return queueOperation(work, { queue, call: 'queue_work', delay: 0 });
}

/** `schedule_work(work)`: {@link queueWork} on the system's queue. */
export function scheduleWork(work: WorkStruct): Operation<boolean> {
  return queueOperation(work, { queue: systemWq(), call: 'schedule_work', delay: 0 });
}

/**
 * `queue_delayed_work(queue, work, delay)`: false if it was pending already. `delay` in jiffies; any
 * that is not 0 elapses at any later moment. Never sleeps.
 */
export function queueDelayedWork(
  queue: Workqueue,
  work: DelayedWork,
  delay: number,
): Operation<boolean> {
  return queueOperation(work, { queue, call: 'queue_delayed_work', delay });
}

/** `schedule_delayed_work(work, delay)`: {@link queueDelayedWork} on the system's queue. */
export function scheduleDelayedWork(work: DelayedWork, delay: number): Operation<boolean> {
  return queueOperation(work, { queue: systemWq(), call: 'schedule_delayed_work', delay });
}

/** `mod_delayed_work(queue, work, delay)`: true if it was pending and was started anew. Never sleeps. */
export function modDelayedWork(
  queue: Workqueue,
  work: DelayedWork,
  delay: number,
): Operation<boolean> {
  const request: QueueRequest = { queue, call: 'mod_delayed_work', delay };
  checkThere(request);
  return made(
    work.operation('mod', () => new ModDelayedWork(work)),
    request,
  );
}

// ---- flushing and cancelling one item --------------------------------------------------------------

/** Which run to wait for: the one queued last, not one whose timer has yet to fire. */
class FlushWork extends WorkOperation<WorkRun | null> {
  override readonly maySleep = true;

  override footprint(out: Access[]): void {
    out.push(access(this.work.variable + 1, READ));
  }

  perform(task: Task): WorkRun | null {
    const { work } = this;
    const { lastQueued } = work;
    work.touchMap(task);
    // On an ordered queue it is behind all others.
    if (lastQueued?.queue.isOrdered === true) touchMap(task, lastQueued.queue.waitable);
    return lastQueued;
  }
}

/** Queues an item whose timer has not fired. */
class ExpediteWork extends WorkOperation<void> {
  override readonly maySleep = true;

  override footprint(out: Access[]): void {
    const { work } = this;
    const { pending } = work;
    out.push(access(work.variable, WRITE));
    if (pending === null || pending.stage !== 'timer') return;
    out.push(access(pending.variable, WRITE));
    enqueueFootprint(work, { queue: pending.queue, call: '', delay: 0 }, out);
  }

  perform(): void {
    const { work } = this;
    const { pending } = work;
    if (pending === null || pending.stage !== 'timer') return;
    pending.cancel();
    enqueue(work, { queue: pending.queue, call: '', delay: 0 });
  }
}

class CancelWork extends WorkOperation<boolean> {
  perform(): boolean {
    const { pending } = this.work;
    pending?.cancel();
    return pending !== null;
  }
}

/** The first half of cancel_work_sync. */
class CancelWorkSync extends WorkOperation<boolean> {
  override readonly maySleep = true;

  perform(task: Task): boolean {
    const { work } = this;
    const { pending } = work;
    work.touchMap(task);
    pending?.cancel();
    if (work.lastBegun !== null) work.cancelCount += 1;
    return pending !== null;
  }
}

/** The second half: the item itself is used until its function is done. */
class CancelWorkDone extends WorkOperation<void> {
  override readonly maySleep = true;

  override isEnabled(): boolean {
    return this.work.lastBegun?.isOver ?? true;
  }

  perform(): void {
    const { work } = this;
    running.requires(work.lastBegun?.endStep ?? -1);
    work.cancelCount -= 1;
  }

  override describe(): string {
    return `cancel_work_sync(&${this.work.path}): done`;
  }

  override blockers(): readonly Task[] {
    const { lastBegun } = this.work;
    return lastBegun === null ? [] : tasksOf([lastBegun]);
  }
}

const waitForWork = fn(
  function* waitForWork(work: WorkStruct, call: string) {
    const flush = work.operation('flush', () => new FlushWork(work));
    const run = yield* made(flush, call);
    if (run !== null) yield* made(run.waitOperation);
  },
  { name: 'flush_work' },
);

/**
 * `flush_work(work)`: waits until the run that was queued last is over. A delayed item whose timer has
 * not fired is not queued. May sleep.
 */
export const flushWork = fn(function* flushWork(work: WorkStruct) {
  yield* waitForWork(work, 'flush_work');
});

/** `flush_delayed_work(work)`: queues it at once if its timer runs, and waits for it. May sleep. */
export const flushDelayedWork = fn(function* flushDelayedWork(work: DelayedWork) {
  const expedite = work.operation('expedite', () => new ExpediteWork(work));
  yield* made(expedite, 'flush_delayed_work');
  yield* waitForWork(work, 'flush_work');
});

function cancel(work: WorkStruct, call: string): Operation<boolean> {
  return made(
    work.operation('cancel', () => new CancelWork(work)),
    call,
  );
}

/** `cancel_work(work)`: true if it was pending. Does not wait for a run that has begun. */
export function cancelWork(work: WorkStruct): Operation<boolean> {
  return cancel(work, 'cancel_work');
}

/** `cancel_delayed_work(work)`: true if it was pending. Does not wait for a run that has begun. */
export function cancelDelayedWork(work: DelayedWork): Operation<boolean> {
  return cancel(work, 'cancel_delayed_work');
}

const cancelSync = fn(
  function* cancelSync(work: WorkStruct, call: string) {
    const start = work.operation('cancelSync', () => new CancelWorkSync(work));
    const wasPending = yield* made(start, call);
    if (work.lastBegun !== null) {
      yield* made(work.operation('cancelDone', () => new CancelWorkDone(work)));
    }
    return wasPending;
  },
  { name: '__cancel_work_timer' },
);

/**
 * `cancel_work_sync(work)`: true if it was pending. On return it is neither pending nor running, unless
 * someone else has queued it since. May sleep; hold no lock that its function takes.
 */
export const cancelWorkSync = fn(function* cancelWorkSync(work: WorkStruct) {
  return yield* cancelSync(work, 'cancel_work_sync');
});

/** `cancel_delayed_work_sync(work)`: as {@link cancelWorkSync}. */
export const cancelDelayedWorkSync = fn(function* cancelDelayedWorkSync(work: DelayedWork) {
  return yield* cancelSync(work, 'cancel_delayed_work_sync');
});

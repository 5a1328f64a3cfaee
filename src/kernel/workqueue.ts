/**
 * Work queues: alloc_workqueue, queue_work and its kin, flushing and cancelling. The parts are in work.ts
 * (items and their runs), queue-work.ts (what is done to an item) and workqueue-core.ts (queues).
 *
 * Each run of a work item is a task of its own, on a CPU of its own: workers are never scarce, so items
 * of one queue run side by side, except on ordered queues, where they run one by one in the order of
 * queueing. What was queued before is seen by the function, what the function did is seen by whoever
 * flushed it.
 *
 * Modelled: flush_work waits for the run queued last and not for a timer; flush_workqueue for all that
 * is on the queue; destroy_workqueue also for what these queue in turn, anything else queued meanwhile
 * is a warning; a queue that was destroyed is freed memory.
 * Simplified: flush_work does not say whether it had to wait. Left out: priorities, CPUs, max_active other
 * than 1, rescuers, rcu_work.
 */
import { fn } from './call.ts';
import { GFP_KERNEL } from './gfp.ts';
import { made } from './operation.ts';
import { kfree, kzalloc } from './slab.ts';
import { systemWq, WorkqueueStruct, type Workqueue } from './workqueue-core.ts';

export {
  DelayedWork,
  delayedWork,
  initDelayedWork,
  initWork,
  WorkStruct,
  workStruct,
  type WorkFunction,
} from './work.ts';
export { systemWq, Workqueue } from './workqueue-core.ts';
export {
  cancelDelayedWork,
  cancelDelayedWorkSync,
  cancelWork,
  cancelWorkSync,
  flushDelayedWork,
  flushWork,
  modDelayedWork,
  queueDelayedWork,
  queueWork,
  scheduleDelayedWork,
  scheduleWork,
} from './queue-work.ts';

/**
 * `flush_workqueue(queue)`: waits for every run that is on the queue; delayed items whose timer has not
 * fired are not. May sleep.
 */
export const flushWorkqueue = fn(function* flushWorkqueue(queue: Workqueue) {
  const runs = yield* made(queue.flushOperation);
  if (runs.length > 0) yield* made(queue.waitOperation, runs);
});

/** `flush_scheduled_work()`: {@link flushWorkqueue} of the system's queue. May sleep. */
export const flushScheduledWork = fn(function* flushScheduledWork() {
  yield* flushWorkqueue(systemWq());
});

/**
 * `alloc_workqueue(name, …)`, or `alloc_ordered_workqueue` if `isOrdered`; NULL without memory. Pairs
 * with {@link destroyWorkqueue}. May sleep.
 */
export const allocWorkqueue = fn(function* allocWorkqueue(
  name: string,
  options: { readonly isOrdered?: boolean } = {},
) {
  const memory = yield* kzalloc(WorkqueueStruct, GFP_KERNEL);
  if (memory === null) return null;
  memory.queue.name = name;
  memory.queue.isOrdered = options.isOrdered ?? false;
  return memory.queue;
});

/**
 * `destroy_workqueue(queue)`: waits until it is empty, then frees it. Nobody may queue on it any more,
 * nor may the timer of a delayed item be running. May sleep.
 */
export const destroyWorkqueue = fn(function* destroyWorkqueue(queue: Workqueue) {
  yield* made(queue.drainOperation);
  yield* made(queue.drainedOperation);
  yield* kfree(queue.container);
});

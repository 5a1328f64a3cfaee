/**
 * The queues of a process (the process queue manager) and the slots they are loaded into (the device queue
 * manager).
 *
 * Who may run at the same time: programs create and destroy queues under the process's mutex; the eviction and
 * restore works take only `dqm_lock`, which protects the list of queues and what is loaded where.
 */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAddTail, listDel, listForEach, listForEachSafe } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { GPU_SLOT_COUNT, haltSlot, loadQueue, resumeSlot, unloadQueue } from './gpu.ts';
import { amdkfd, globals, KfdQueue, QueueSlotBitmap, type KfdProcess } from './kfd-priv.ts';

const { fn } = amdkfd;

/** Returns 0 or -ENOMEM. May sleep. */
export const pqmInit = fn(function* pqmInit(p: KfdProcess) {
  p.pqm.queueSlotBitmap = yield* kzalloc(QueueSlotBitmap, GFP_KERNEL);
  return p.pqm.queueSlotBitmap === null ? -ENOMEM : 0;
});

/** A slot of the hardware that no queue has, or -1. dqm_lock is held. */
function allocateHqd(): number {
  const kfd = globals();
  for (let slot = 0; slot < GPU_SLOT_COUNT; slot += 1) {
    if ((kfd.hqdBitmap & (1 << slot)) !== 0) continue;
    kfd.hqdBitmap |= 1 << slot;
    return slot;
  }
  return -1;
}

/** Loads a queue of the process; 0 or -ENOMEM if the hardware has no slot left. May sleep. */
const createQueueCpsch = fn(
  function* createQueueCpsch(p: KfdProcess, queue: KfdQueue) {
    const kfd = globals();
    yield* mutexLock(kfd.dqmLock);
    queue.slot = allocateHqd();
    if (queue.slot >= 0) {
      listAddTail(queue.node, p.pqm.queues);
      // What an APU's GPU translates by: the PASID was bound to the process's page tables.
      yield* loadQueue(queue.slot, p.mm!.pageTables);
      if (p.pqm.isEvicted) yield* haltSlot(queue.slot);
    }
    yield* mutexUnlock(kfd.dqmLock);
    return queue.slot < 0 ? -ENOMEM : 0;
  },
  { name: 'create_queue_cpsch' },
);

/** Takes a queue off the hardware. When it returns, the GPU executes nothing of it any more. May sleep. */
const destroyQueueCpsch = fn(
  function* destroyQueueCpsch(p: KfdProcess, queue: KfdQueue) {
    const kfd = globals();
    yield* mutexLock(kfd.dqmLock);
    if (!p.pqm.isEvicted) yield* haltSlot(queue.slot);
    yield* unloadQueue(queue.slot);
    kfd.hqdBitmap &= ~(1 << queue.slot);
    listDel(queue.node);
    yield* mutexUnlock(kfd.dqmLock);
  },
  { name: 'destroy_queue_cpsch' },
);

/**
 * Adds a queue; returns its id, which is its doorbell, too, or -ENOMEM. The process's mutex is held. May sleep.
 */
export const pqmCreateQueue = fn(function* pqmCreateQueue(p: KfdProcess) {
  const slots = p.pqm.queueSlotBitmap;
  // The process was torn down while somebody still had its file.
  if (p.mm === null || slots === null) return -EINVAL;
  const queue = yield* kzalloc(KfdQueue, GFP_KERNEL);
  if (queue === null) return -ENOMEM;
  const error = yield* createQueueCpsch(p, queue);
  if (error !== 0) {
    yield* kfree(queue);
    return error;
  }
  slots.bits |= 1 << queue.slot;
  return queue.slot;
});

/** Destroys a queue; 0 or -EINVAL if the process has none with that id. The process's mutex is held. May sleep. */
export const pqmDestroyQueue = fn(function* pqmDestroyQueue(p: KfdProcess, queueId: number) {
  for (const node of listForEachSafe(p.pqm.queues)) {
    const queue = containerOf(node, KfdQueue, 'node');
    if (queue.slot !== queueId) continue;
    yield* destroyQueueCpsch(p, queue);
    p.pqm.queueSlotBitmap!.bits &= ~(1 << queueId);
    yield* kfree(queue);
    return 0;
  }
  return -EINVAL;
});

/**
 * Takes all queues of a dying process off the hardware and frees them. The process's mutex is held, or nobody else
 * knows the process. May sleep.
 */
export const pqmUninit = fn(function* pqmUninit(p: KfdProcess) {
  for (const node of listForEachSafe(p.pqm.queues)) {
    const queue = containerOf(node, KfdQueue, 'node');
    yield* destroyQueueCpsch(p, queue);
    yield* kfree(queue);
  }
  yield* kfree(p.pqm.queueSlotBitmap);
  p.pqm.queueSlotBitmap = null;
});

/** Stops the process's queues, once the packets they are at are done. May sleep. */
export const kfdProcessEvictQueues = fn(function* kfdProcessEvictQueues(p: KfdProcess) {
  const { dqmLock } = globals();
  yield* mutexLock(dqmLock);
  if (!p.pqm.isEvicted) {
    for (const node of listForEach(p.pqm.queues)) {
      yield* haltSlot(containerOf(node, KfdQueue, 'node').slot);
    }
    p.pqm.isEvicted = true;
  }
  yield* mutexUnlock(dqmLock);
});

/** Lets them run again. May sleep. */
export const kfdProcessRestoreQueues = fn(function* kfdProcessRestoreQueues(p: KfdProcess) {
  const { dqmLock } = globals();
  yield* mutexLock(dqmLock);
  if (p.pqm.isEvicted) {
    p.pqm.isEvicted = false;
    for (const node of listForEach(p.pqm.queues)) {
      yield* resumeSlot(containerOf(node, KfdQueue, 'node').slot);
    }
  }
  yield* mutexUnlock(dqmLock);
});

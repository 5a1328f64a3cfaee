/**
 * RCU: read sections that turn preemption off, and grace periods that wait for them.
 *
 * Modelled: what grace-period.ts says, with one domain for the whole kernel; nesting; that a read
 * section must not sleep and shuts out the other tasks of its CPU; kfree_rcu.
 * Simplified: only rcu_read_lock makes a read section. Linux (from v5.0 on) also waits for regions
 * that merely have preemption or interrupts off; code that relies on it looks wrong here.
 * Not modelled: preemptible RCU, the _bh and _sched forms, tasks RCU. Publication and dereference of
 * pointers are in field.ts, hlist.ts and list.ts.
 */
import { fn } from './call.ts';
import { barrier, DomainOperation, queueCallback, synchronize } from './grace-period-operations.ts';
import { DOMAIN_VARIABLES, GracePeriodDomain } from './grace-period.ts';
import type { RcuCallback, RcuHead } from './grace-period.ts';
import { perKernel, type Kernel } from './kernel.ts';
import type { KernelObject } from './memory.ts';
import { access, COMMUTE, made, type Access, type Operation } from './operation.ts';
import { preemptCountDec, preemptCountInc } from './preempt.ts';
import { running } from './running.ts';
import { kfree } from './slab.ts';
import type { Task } from './task.ts';

export { RcuHead, rcuHead, type RcuCallback } from './grace-period.ts';

const domainOf: (kernel: Kernel) => GracePeriodDomain = perKernel(
  (kernel) =>
    new GracePeriodDomain('rcu', {
      path: 'rcu',
      memory: null,
      variable: kernel.reserveVariables(DOMAIN_VARIABLES),
    }),
  DOMAIN_VARIABLES,
);

class RcuReadLock extends DomainOperation<void> {
  override readonly disablesPreemption = true;

  override get isOfReader(): boolean {
    return true;
  }

  footprint(out: Access[], task: Task): void {
    if (task.rcuReadCount === 0) out.push(access(this.domain.enterVariable, COMMUTE));
  }

  perform(task: Task): void {
    preemptCountInc(task);
    task.rcuReadCount += 1;
    if (task.rcuReadCount === 1) this.domain.enter(task);
  }
}

class RcuReadUnlock extends DomainOperation<void> {
  override get isOfReader(): boolean {
    return true;
  }

  footprint(): void {
    // What it allows, the end of a grace period, cannot come first.
  }

  perform(task: Task): void {
    if (task.rcuReadCount === 0) {
      running.lockMisuse('rcu', 'rcu_read_unlock outside a read section');
      return;
    }
    task.rcuReadCount -= 1;
    const section = this.domain.sectionOf(task);
    if (task.rcuReadCount === 0 && section !== null) this.domain.leave(section);
    preemptCountDec(task);
  }
}

/** `rcu_read_lock()`. Nests; the section must not sleep. */
export function rcuReadLock(): Operation<void> {
  const domain = domainOf(running);
  return made(domain.operation('rcu_read_lock', (at, label) => new RcuReadLock(at, label)));
}

/** `rcu_read_unlock()`. */
export function rcuReadUnlock(): Operation<void> {
  const domain = domainOf(running);
  return made(domain.operation('rcu_read_unlock', (at, label) => new RcuReadUnlock(at, label)));
}

/** `rcu_read_lock_held()`. */
export function rcuReadLockHeld(): boolean {
  return running.currentTask.rcuReadCount > 0;
}

/**
 * `synchronize_rcu()`: waits for all read sections that are open when it is called, and for the
 * callbacks queued before on the same CPU; not for those of other CPUs, see {@link rcuBarrier}. May
 * sleep.
 */
export const synchronizeRcu = fn(function* synchronizeRcu() {
  yield* synchronize(domainOf(running));
});

/**
 * `call_rcu(head, func)`: has `func(head)` called after a grace period, in atomic context. Never
 * sleeps. Queueing a head that is queued is WARN_ON and does nothing, as with debug objects on.
 */
export function callRcu(head: RcuHead, func: RcuCallback): Operation<void> {
  return queueCallback(domainOf(running), head, func, 'call_rcu');
}

const kfreeRcuCallback = fn(
  function* kfreeRcuCallback(head: RcuHead) {
    let object: KernelObject = head;
    while (object.container !== null) object = object.container;
    yield* kfree(object);
  },
  { name: 'kfree' },
);

/** `kfree_rcu(object, field)`: frees the object that `head` is part of after a grace period. */
export function kfreeRcu(head: RcuHead): Operation<void> {
  return queueCallback(domainOf(running), head, kfreeRcuCallback, 'kfree_rcu');
}

/** `rcu_barrier()`: waits for all callbacks queued before, whatever CPU queued them. May sleep. */
export const rcuBarrier = fn(function* rcuBarrier() {
  yield* barrier(domainOf(running));
});

/**
 * struct srcu_struct: RCU whose readers may sleep, each struct with grace periods of its own.
 *
 * Modelled: what grace-period.ts says; the index that srcu_read_lock hands out and srcu_read_unlock
 * wants back; a struct whose memory ends, or that is cleaned up, while it is used. That
 * synchronize_srcu does not wait for callbacks of other CPUs, as srcu_barrier does, follows.
 * Stricter than Linux: every read section of a task has an index of its own (not 0 or 1), so that a
 * wrong one is always noticed; sections are left by the task that entered them.
 * Not modelled: that initialising may fail; srcu_down_read, the nmi-safe and fast forms.
 *
 *   CPU0                                    CPU1
 *   idx = srcu_read_lock(ss)
 *   mn = first of a list                    hlist_del_init_rcu(mn)
 *                                           synchronize_srcu(ss)
 *   uses mn                                   waits for CPU0, because it entered before the start
 *   srcu_read_unlock(ss, idx)       --->    returns; nobody can have mn any more
 *                                           kfree(mn)
 */
import { fn } from './call.ts';
import {
  barrier,
  DomainOperation,
  queueCallback,
  ReadLock,
  ReadUnlock,
  synchronize,
} from './grace-period-operations.ts';
import {
  DOMAIN_VARIABLES,
  GracePeriodDomain,
  type RcuCallback,
  type RcuHead,
} from './grace-period.ts';
import { perKernel, type Kernel } from './kernel.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { access, made, READ, type Access, type Operation } from './operation.ts';
import { running } from './running.ts';

export { RcuHead, rcuHead, type RcuCallback } from './grace-period.ts';

/** struct srcu_struct: one SRCU domain. A field of a struct declares one: {@link srcuStruct}. */
export class SrcuStruct extends KernelObject {
  readonly domain: GracePeriodDomain = new GracePeriodDomain('srcu', this);
  readonly readLockOperation = new ReadLock(this.domain, 'srcu_read_lock');
  readonly readUnlockOperation = new ReadUnlock(this.domain, 'srcu_read_unlock');
  readonly cleanupOperation = new CleanupSrcuStruct(this.domain, 'cleanup_srcu_struct');
}

/** A field of type struct srcu_struct, initialised. */
export function srcuStruct(): FieldSpec<SrcuStruct> {
  return new FieldSpec(DOMAIN_VARIABLES, (at: Placement) => new SrcuStruct(at));
}

/**
 * `DEFINE_STATIC_SRCU(name)`: an srcu_struct that is simply there, one for each execution.
 * `const srcu = defineSrcu('srcu')`, then `srcu(running)`.
 */
export function defineSrcu(name: string): (kernel: Kernel) => SrcuStruct {
  return perKernel((kernel) => {
    const memory = kernel.makeMemory(name, 'static', DOMAIN_VARIABLES, null);
    return new SrcuStruct({
      memory,
      path: name,
      variable: memory.firstVariable,
      container: null,
    });
  }, DOMAIN_VARIABLES);
}

class CleanupSrcuStruct extends DomainOperation<void> {
  override readonly maySleep = true;

  /** Callbacks that have begun are waited for, as their work is flushed. */
  override isEnabled(): boolean {
    return this.domain.startedCallbacks().every((callback) => callback.isDone);
  }

  footprint(out: Access[]): void {
    const { enterVariable, leaveVariable, queueVariable } = this.domain;
    out.push(access(enterVariable, READ), access(leaveVariable, READ));
    out.push(access(queueVariable, READ));
  }

  perform(): void {
    const { domain } = this;
    for (const callback of domain.startedCallbacks()) running.requires(callback.endStep);
    if (domain.openSections.length > 0) {
      running.assertion('WARN_ON', `${this.label}: ${domain.path} still has readers`);
    }
    if (domain.hasQueued) {
      running.assertion('WARN_ON', `${this.label}: ${domain.path} still has callbacks queued`);
    }
    domain.isCleanedUp = true;
  }
}

/** `srcu_read_lock(ss)`: the index to hand to {@link srcuReadUnlock}. The section may sleep; it nests. */
export function srcuReadLock(ss: SrcuStruct): Operation<number> {
  return made(ss.readLockOperation);
}

/** `srcu_read_unlock(ss, idx)`, by the task that has the section open. */
export function srcuReadUnlock(ss: SrcuStruct, index: number): Operation<void> {
  return made(ss.readUnlockOperation, index);
}

/** `srcu_read_lock_held(ss)`: whether the current task is in a read section of `ss`. */
export function srcuReadLockHeld(ss: SrcuStruct): boolean {
  return ss.domain.sectionOf(running.currentTask) !== null;
}

/**
 * `synchronize_srcu(ss)`: waits for all read sections that are open when it is called, and for the
 * callbacks queued before on the same CPU; not for those of other CPUs, see {@link srcuBarrier}. May
 * sleep; inside a read section of `ss` it waits for itself.
 */
export const synchronizeSrcu = fn(function* synchronizeSrcu(ss: SrcuStruct) {
  yield* synchronize(ss.domain);
});

/**
 * `call_srcu(ss, head, func)`: has `func(head)` called after a grace period, in atomic context. Never
 * sleeps. Queueing a head that is queued is WARN_ON and does nothing, as with debug objects on.
 */
export function callSrcu(ss: SrcuStruct, head: RcuHead, func: RcuCallback): Operation<void> {
  return queueCallback(ss.domain, head, func, 'call_srcu');
}

/** `srcu_barrier(ss)`: waits for all callbacks queued before, whatever CPU queued them. May sleep. */
export const srcuBarrier = fn(function* srcuBarrier(ss: SrcuStruct) {
  yield* barrier(ss.domain);
});

/**
 * `cleanup_srcu_struct(ss)`: ends its use. Readers, or callbacks that have not begun, are WARN_ON: a
 * {@link srcuBarrier} belongs before it. May sleep.
 */
export function cleanupSrcuStruct(ss: SrcuStruct): Operation<void> {
  return made(ss.cleanupOperation);
}

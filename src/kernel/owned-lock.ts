/**
 * What a mutex and a spinlock have in common: one owner, who alone may give the lock back.
 *
 * Variables: acquisitions conflict on the first. Releasing conflicts only with what looks whether the lock is
 * free, on the second: a lock that waits was not there to be overtaken. A trylock that fails changes nothing, so
 * it only reads.
 */
import { BY_TRYLOCK, checkOwner, dropHeld, heldAs, noteHeld, type Manner } from './held-lock.ts';
import { LockClass } from './lock-class.ts';
import { KernelObject, type Placement } from './memory.ts';
import {
  access,
  COMMUTE,
  Operation,
  READ,
  WRITE,
  type Access,
  type PastHold,
} from './operation.ts';
import { running } from './running.ts';
import type { HeldLock, Task } from './task.ts';

/** A lock with one owner; takes two variables. */
export abstract class OwnedLock extends KernelObject {
  owner: Task | null = null;
  /** The step at which it was last locked, or -1. */
  lastAcquire = -1;
  /** The step of the last unlock, or -1. */
  lastRelease = -1;
  readonly pastHolds: PastHold[] = [];
  private readonly lockClass: LockClass;
  private heldNow: HeldLock | null = null;

  constructor(at: Placement, lockClass = new LockClass()) {
    super(at);
    this.lockClass = lockClass;
  }

  // Many locks are never taken, and most only ever in one way: what that needs is made on first use.

  get held(): HeldLock {
    return (this.heldNow ??= heldAs(this, 'write', this.lockClass));
  }
}

export abstract class OwnedLockOperation<R> extends Operation<R> {
  readonly lock: OwnedLock;
  readonly label: string;

  constructor(lock: OwnedLock, label: string) {
    super(lock.memory);
    this.lock = lock;
    this.label = label;
  }

  describe(_task: Task): string {
    return `${this.label}(&${this.lock.path})`;
  }

  /** What trying touches: the outcome depends on whether the lock is free. */
  protected tryFootprint(out: Access[]): void {
    const { variable, owner } = this.lock;
    out.push(access(variable, owner === null ? WRITE : READ), access(variable + 1, READ));
  }
}

/**
 * The task becomes the owner.
 *
 * @param mayWait whether it would have waited for the owner, which it then can come before or after, but not in
 *   between.
 */
export function takeLock(lock: OwnedLock, task: Task, mayWait: boolean, manner: Manner): void {
  running.after(lock.lastRelease, mayWait ? lock.lastAcquire : -1);
  lock.owner = task;
  lock.lastAcquire = running.now;
  noteHeld(task, lock.held, manner);
}

/** Waits for the owner. */
export abstract class LockOwned<R> extends OwnedLockOperation<R> {
  override isEnabled(_task: Task): boolean {
    return this.lock.owner === null;
  }

  footprint(out: Access[], _task: Task): void {
    out.push(access(this.lock.variable, WRITE));
  }

  override blockers(): readonly Task[] {
    return this.lock.owner === null ? [] : [this.lock.owner];
  }

  override heldSince(): readonly number[] {
    return this.lock.owner === null ? [] : [this.lock.lastAcquire];
  }

  override heldBefore(_task: Task): readonly PastHold[] {
    return this.lock.pastHolds;
  }
}

/** Takes the lock if it is free: whether it did. */
export class TrylockOwned extends OwnedLockOperation<boolean> {
  override readonly footprintVaries = true;

  footprint(out: Access[]): void {
    this.tryFootprint(out);
  }

  perform(task: Task): boolean {
    if (this.lock.owner !== null) return false;
    takeLock(this.lock, task, false, BY_TRYLOCK);
    return true;
  }
}

export class UnlockOwned extends OwnedLockOperation<void> {
  footprint(out: Access[]): void {
    out.push(access(this.lock.variable + 1, COMMUTE));
  }

  perform(task: Task): void {
    const { lock } = this;
    checkOwner(lock, lock.owner, task);
    dropHeld(lock.owner ?? task, lock);
    lock.owner = null;
    lock.lastRelease = running.now;
    if (running.now >= 0) lock.pastHolds.push([lock.lastAcquire, running.now]);
  }
}

export class IsOwnedLocked extends OwnedLockOperation<boolean> {
  footprint(out: Access[]): void {
    out.push(access(this.lock.variable, READ), access(this.lock.variable + 1, READ));
  }

  perform(): boolean {
    return this.lock.owner !== null;
  }
}

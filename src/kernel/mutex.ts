/**
 * struct mutex: one owner, who may sleep while holding it.
 *
 * Modelled: lock, trylock, the interruptible and killable forms (a signal is a choice with a budget),
 * unlock; that only the owner may unlock. Simplified: waiters are not queued; any of them may be next.
 *
 * Variables: the first is what acquisitions conflict on. Releasing conflicts only with trylock and
 * `mutex_is_locked`, on the second: a lock that waits was not there to be overtaken.
 */
import { EINTR } from '../base/errno.ts';
import { checkOwner, dropHeld, heldAs } from './held-lock.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { HeldLock, Task } from './task.ts';

export class Mutex extends KernelObject {
  owner: Task | null = null;
  /** The step of the last unlock, or -1. */
  lastRelease = -1;
  readonly held: HeldLock = heldAs(this, 'write');
  readonly lockOperation = new MutexLock(this);
  readonly unlockOperation = new MutexUnlock(this);
  readonly trylockOperation = new MutexTrylock(this);
  readonly killableOperation = new MutexLockSignal(this, 'mutex_lock_killable');
  readonly interruptibleOperation = new MutexLockSignal(this, 'mutex_lock_interruptible');
  readonly isLockedOperation = new MutexIsLocked(this);
}

/** A field of type struct mutex. */
export function mutex(): FieldSpec<Mutex> {
  return new FieldSpec(2, (at: Placement) => new Mutex(at));
}

abstract class MutexOperation<R> extends Operation<R> {
  readonly lock: Mutex;
  readonly label: string;

  constructor(lock: Mutex, label: string) {
    super(lock.memory);
    this.lock = lock;
    this.label = label;
  }

  footprint(out: Access[], _task: Task): void {
    out.push(access(this.lock.variable, WRITE));
  }

  describe(_task: Task): string {
    return `${this.label}(&${this.lock.path})`;
  }

  protected acquire(task: Task): void {
    running.after(this.lock.lastRelease);
    this.lock.owner = task;
    task.heldLocks.push(this.lock.held);
  }
}

class MutexLock extends MutexOperation<void> {
  override readonly maySleep = true;

  constructor(lock: Mutex) {
    super(lock, 'mutex_lock');
  }

  override isEnabled(): boolean {
    return this.lock.owner === null;
  }

  perform(task: Task): void {
    this.acquire(task);
  }

  override blockers(): readonly Task[] {
    return this.lock.owner === null ? [] : [this.lock.owner];
  }
}

class MutexLockSignal extends MutexOperation<number> {
  override readonly maySleep = true;

  override isEnabled(task: Task): boolean {
    return this.lock.owner === null || this.canBeInterrupted(task);
  }

  /** Outcome 0: what is possible first, the lock if it is free; outcome 1: a signal instead. */
  override arity(task: Task): number {
    return this.lock.owner === null && this.canBeInterrupted(task) ? 2 : 1;
  }

  perform(task: Task, outcome: number): number {
    if (this.lock.owner === null && outcome === 0) {
      this.acquire(task);
      return 0;
    }
    if (!task.hasSignal) running.left.signals -= 1;
    task.hasSignal = true;
    return -EINTR;
  }

  override blockers(): readonly Task[] {
    return this.lock.owner === null ? [] : [this.lock.owner];
  }

  private canBeInterrupted(task: Task): boolean {
    return task.hasSignal || running.left.signals > 0;
  }
}

class MutexTrylock extends MutexOperation<boolean> {
  constructor(lock: Mutex) {
    super(lock, 'mutex_trylock');
  }

  override footprint(out: Access[]): void {
    out.push(access(this.lock.variable, WRITE), access(this.lock.variable + 1, READ));
  }

  perform(task: Task): boolean {
    if (this.lock.owner !== null) return false;
    this.acquire(task);
    return true;
  }
}

class MutexUnlock extends MutexOperation<void> {
  constructor(lock: Mutex) {
    super(lock, 'mutex_unlock');
  }

  override footprint(out: Access[]): void {
    out.push(access(this.lock.variable + 1, COMMUTE));
  }

  perform(task: Task): void {
    const { lock } = this;
    checkOwner(lock, lock.owner, task);
    dropHeld(lock.owner ?? task, lock);
    lock.owner = null;
    lock.lastRelease = running.now;
  }
}

class MutexIsLocked extends MutexOperation<boolean> {
  constructor(lock: Mutex) {
    super(lock, 'mutex_is_locked');
  }

  override footprint(out: Access[]): void {
    out.push(access(this.lock.variable, READ), access(this.lock.variable + 1, READ));
  }

  perform(): boolean {
    return this.lock.owner !== null;
  }
}

/** `mutex_lock(lock)`. May sleep. */
export function mutexLock(lock: Mutex): Operation<void> {
  return made(lock.lockOperation);
}

/** `mutex_lock_killable(lock)`: 0, or -EINTR if a fatal signal came first. May sleep. */
export function mutexLockKillable(lock: Mutex): Operation<number> {
  return made(lock.killableOperation);
}

/** `mutex_lock_interruptible(lock)`: 0, or -EINTR if a signal came first. May sleep. */
export function mutexLockInterruptible(lock: Mutex): Operation<number> {
  return made(lock.interruptibleOperation);
}

/** `mutex_trylock(lock)`: true if it was taken. Never sleeps. */
export function mutexTrylock(lock: Mutex): Operation<boolean> {
  return made(lock.trylockOperation);
}

/** `mutex_unlock(lock)`, by the owner. */
export function mutexUnlock(lock: Mutex): Operation<void> {
  return made(lock.unlockOperation);
}

/** `mutex_is_locked(lock)`. */
export function mutexIsLocked(lock: Mutex): Operation<boolean> {
  return made(lock.isLockedOperation);
}

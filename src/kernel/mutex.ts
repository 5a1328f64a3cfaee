/**
 * struct mutex: one owner, who may sleep while holding it.
 *
 * Modelled: lock, trylock, the interruptible and killable forms, unlock; that only the owner may
 * unlock; that a task which locks twice waits for itself. Simplified: waiters are not queued; any of
 * them may be next. Not modelled: `ww_mutex`.
 *
 * Variables: acquisitions conflict on the first. Releasing conflicts only with what looks whether
 * the mutex is free, on the second: a lock that waits was not there to be overtaken. A trylock that
 * fails changes nothing, so it only reads. So does a wait that a pending signal ends.
 */
import { EINTR } from '../base/errno.ts';
import {
  BY_TRYLOCK,
  checkOwner,
  dropHeld,
  heldAs,
  noteHeld,
  PLAINLY,
  type Manner,
} from './held-lock.ts';
import { LockClass } from './lock-class.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import {
  access,
  COMMUTE,
  made,
  Operation,
  READ,
  WRITE,
  type Access,
  type PastHold,
  type Yieldable,
} from './operation.ts';
import { running } from './running.ts';
import { signalWait, untilSignal } from './signal.ts';
import type { HeldLock, Task } from './task.ts';

/** struct mutex. A field of a struct declares one: {@link mutex}. */
export class Mutex extends KernelObject {
  owner: Task | null = null;
  /** The step at which it was last locked, or -1. */
  lastAcquire = -1;
  /** The step of the last unlock, or -1. */
  lastRelease = -1;
  readonly pastHolds: PastHold[] = [];
  private readonly lockClass: LockClass;
  private heldNow: HeldLock | null = null;
  private madeOperations: MutexOperations | null = null;

  constructor(at: Placement, lockClass = new LockClass()) {
    super(at);
    this.lockClass = lockClass;
  }

  // Many locks are never taken, and most only ever in one way: what that needs is made on first use.

  get held(): HeldLock {
    return (this.heldNow ??= heldAs(this, 'write', this.lockClass));
  }

  get operations(): MutexOperations {
    return (this.madeOperations ??= {
      lock: null,
      killable: null,
      interruptible: null,
      trylock: null,
      unlock: null,
      isLocked: null,
      nested: null,
    });
  }
}

interface MutexOperations {
  lock: MutexLock | null;
  killable: MutexLockSignal | null;
  interruptible: MutexLockSignal | null;
  trylock: MutexTrylock | null;
  unlock: MutexUnlock | null;
  isLocked: MutexIsLocked | null;
  /** By subclass. */
  nested: MutexLock[] | null;
}

/** A field of type struct mutex. */
export function mutex(): FieldSpec<Mutex> {
  const lockClass = new LockClass();
  return new FieldSpec(2, (at: Placement) => new Mutex(at, lockClass));
}

abstract class MutexOperation<R> extends Operation<R> {
  readonly lock: Mutex;
  readonly label: string;

  constructor(lock: Mutex, label: string) {
    super(lock.memory);
    this.lock = lock;
    this.label = label;
  }

  describe(_task: Task): string {
    return `${this.label}(&${this.lock.path})`;
  }

  /**
   * @param mayWait whether the operation would have waited for the owner, which it then can come
   *   before or after, but not in between.
   */
  protected acquire(task: Task, mayWait: boolean, manner: Manner): void {
    running.after(this.lock.lastRelease, mayWait ? this.lock.lastAcquire : -1);
    this.lock.owner = task;
    this.lock.lastAcquire = running.now;
    noteHeld(task, this.lock.held, manner);
  }

  /** What trying touches: the outcome depends on whether the mutex is free. */
  protected tryFootprint(out: Access[]): void {
    const { variable, owner } = this.lock;
    out.push(access(variable, owner === null ? WRITE : READ), access(variable + 1, READ));
  }
}

class MutexLock extends MutexOperation<void> {
  override readonly maySleep = true;
  private readonly manner: Manner;

  constructor(lock: Mutex, label: string, manner: Manner) {
    super(lock, label);
    this.manner = manner;
  }

  override isEnabled(): boolean {
    return this.lock.owner === null;
  }

  footprint(out: Access[]): void {
    out.push(access(this.lock.variable, WRITE));
  }

  perform(task: Task): void {
    this.acquire(task, true, this.manner);
  }

  override blockers(): readonly Task[] {
    return this.lock.owner === null ? [] : [this.lock.owner];
  }

  override heldSince(): readonly number[] {
    return this.lock.owner === null ? [] : [this.lock.lastAcquire];
  }

  override heldBefore(): readonly PastHold[] {
    return this.lock.pastHolds;
  }
}

class MutexLockSignal extends MutexOperation<number> {
  override readonly footprintVaries = true;
  override readonly maySleep = true;

  override isEnabled(task: Task): boolean {
    return this.lock.owner === null || task.hasSignal;
  }

  footprint(out: Access[], task: Task): void {
    if (task.hasSignal) this.tryFootprint(out);
    else out.push(access(this.lock.variable, WRITE));
  }

  perform(task: Task): number {
    if (this.lock.owner !== null) return -EINTR;
    this.acquire(task, !task.hasSignal, PLAINLY);
    return 0;
  }

  override blockers(): readonly Task[] {
    return this.lock.owner === null ? [] : [this.lock.owner];
  }

  override heldSince(): readonly number[] {
    return this.lock.owner === null ? [] : [this.lock.lastAcquire];
  }

  /** With a signal it would not have waited. */
  override heldBefore(task: Task): readonly PastHold[] {
    return task.hasSignal ? [] : this.lock.pastHolds;
  }
}

class MutexTrylock extends MutexOperation<boolean> {
  override readonly footprintVaries = true;
  footprint(out: Access[]): void {
    this.tryFootprint(out);
  }

  perform(task: Task): boolean {
    if (this.lock.owner !== null) return false;
    this.acquire(task, false, BY_TRYLOCK);
    return true;
  }
}

class MutexUnlock extends MutexOperation<void> {
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

class MutexIsLocked extends MutexOperation<boolean> {
  footprint(out: Access[]): void {
    out.push(access(this.lock.variable, READ), access(this.lock.variable + 1, READ));
  }

  perform(): boolean {
    return this.lock.owner !== null;
  }
}

const killableWait = signalWait('mutex_lock_killable');
const interruptibleWait = signalWait('mutex_lock_interruptible');

/** `mutex_lock(lock)`. May sleep. */
export function mutexLock(lock: Mutex): Operation<void> {
  return made((lock.operations.lock ??= new MutexLock(lock, 'mutex_lock', PLAINLY)));
}

/**
 * `mutex_lock_nested(lock, subclass)`: for a lock of which another of the same class is held. Lockdep
 * takes each subclass for a class of its own; the order among them is the caller's promise. May sleep.
 */
export function mutexLockNested(lock: Mutex, subclass: number): Operation<void> {
  const nested = (lock.operations.nested ??= []);
  nested[subclass] ??= new MutexLock(lock, 'mutex_lock_nested', {
    ...PLAINLY,
    subclass,
  });
  return made(nested[subclass]);
}

/** `mutex_lock_killable(lock)`: 0, or -EINTR if it had to wait and a fatal signal came. May sleep. */
export function mutexLockKillable(lock: Mutex): Yieldable<number> {
  const { operations } = lock;
  operations.killable ??= new MutexLockSignal(lock, 'mutex_lock_killable');
  return untilSignal(killableWait, operations.killable);
}

/** `mutex_lock_interruptible(lock)`: 0, or -EINTR if it had to wait and a signal came. May sleep. */
export function mutexLockInterruptible(lock: Mutex): Yieldable<number> {
  const { operations } = lock;
  operations.interruptible ??= new MutexLockSignal(lock, 'mutex_lock_interruptible');
  return untilSignal(interruptibleWait, operations.interruptible);
}

/** `mutex_trylock(lock)`: true if it was taken. Never sleeps. */
export function mutexTrylock(lock: Mutex): Operation<boolean> {
  return made((lock.operations.trylock ??= new MutexTrylock(lock, 'mutex_trylock')));
}

/** `mutex_unlock(lock)`, by the owner. */
export function mutexUnlock(lock: Mutex): Operation<void> {
  return made((lock.operations.unlock ??= new MutexUnlock(lock, 'mutex_unlock')));
}

/** `mutex_is_locked(lock)`. */
export function mutexIsLocked(lock: Mutex): Operation<boolean> {
  return made((lock.operations.isLocked ??= new MutexIsLocked(lock, 'mutex_is_locked')));
}

/**
 * struct mutex: one owner, who may sleep while holding it.
 *
 * Modelled: lock, trylock, the interruptible and killable forms, unlock; that only the owner may
 * unlock; that a task which locks twice waits for itself. Simplified: waiters are not queued; any of
 * them may be next. Not modelled: `ww_mutex`.
 *
 * Variables: see owned-lock.ts. A wait that a pending signal ends changes nothing either.
 */
import { EINTR } from '../base/errno.ts';
import { PLAINLY, type Manner } from './held-lock.ts';
import { LockClass } from './lock-class.ts';
import { FieldSpec, type Placement } from './memory.ts';
import {
  access,
  made,
  WRITE,
  type Access,
  type Operation,
  type PastHold,
  type Yieldable,
} from './operation.ts';
import {
  IsOwnedLocked,
  LockOwned,
  OwnedLock,
  takeLock,
  TrylockOwned,
  UnlockOwned,
} from './owned-lock.ts';
import { signalWait, untilSignal } from './signal.ts';
import type { Task } from './task.ts';

/** struct mutex. A field of a struct declares one: {@link mutex}. */
export class Mutex extends OwnedLock {
  private madeOperations: MutexOperations | null = null;

  get operations(): MutexOperations {
    return (this.madeOperations ??= {
      lock: null,
      killable: null,
      interruptible: null,
      trylock: null,
      unlock: null,
      isLocked: null,
      nested: null,
      killableNested: null,
    });
  }
}

interface MutexOperations {
  lock: MutexLock | null;
  killable: MutexLockSignal | null;
  interruptible: MutexLockSignal | null;
  trylock: TrylockOwned | null;
  unlock: UnlockOwned | null;
  isLocked: IsOwnedLocked | null;
  /** By subclass. */
  nested: MutexLock[] | null;
  killableNested: MutexLockSignal[] | null;
}

/** A field of type struct mutex. */
export function mutex(): FieldSpec<Mutex> {
  const lockClass = new LockClass();
  return new FieldSpec(2, (at: Placement) => new Mutex(at, lockClass));
}

class MutexLock extends LockOwned<void> {
  override readonly maySleep = true;
  private readonly manner: Manner;

  constructor(lock: Mutex, label: string, manner: Manner) {
    super(lock, label);
    this.manner = manner;
  }

  perform(task: Task): void {
    takeLock(this.lock, task, true, this.manner);
  }
}

class MutexLockSignal extends LockOwned<number> {
  override readonly footprintVaries = true;
  override readonly maySleep = true;
  private readonly manner: Manner;

  constructor(lock: Mutex, label: string, manner: Manner = PLAINLY) {
    super(lock, label);
    this.manner = manner;
  }

  override isEnabled(task: Task): boolean {
    return this.lock.owner === null || task.hasSignal;
  }

  override footprint(out: Access[], task: Task): void {
    if (task.hasSignal) this.tryFootprint(out);
    else out.push(access(this.lock.variable, WRITE));
  }

  perform(task: Task): number {
    if (this.lock.owner !== null) return -EINTR;
    takeLock(this.lock, task, !task.hasSignal, this.manner);
    return 0;
  }

  /** With a signal it would not have waited. */
  override heldBefore(task: Task): readonly PastHold[] {
    return task.hasSignal ? [] : this.lock.pastHolds;
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

/** `mutex_lock_killable_nested(lock, subclass)`: both of {@link mutexLockKillable} and {@link mutexLockNested}. */
export function mutexLockKillableNested(lock: Mutex, subclass: number): Yieldable<number> {
  const nested = (lock.operations.killableNested ??= []);
  nested[subclass] ??= new MutexLockSignal(lock, 'mutex_lock_killable_nested', {
    ...PLAINLY,
    subclass,
  });
  return untilSignal(killableWait, nested[subclass]);
}

/** `mutex_lock_interruptible(lock)`: 0, or -EINTR if it had to wait and a signal came. May sleep. */
export function mutexLockInterruptible(lock: Mutex): Yieldable<number> {
  const { operations } = lock;
  operations.interruptible ??= new MutexLockSignal(lock, 'mutex_lock_interruptible');
  return untilSignal(interruptibleWait, operations.interruptible);
}

/** `mutex_trylock(lock)`: true if it was taken. Never sleeps. */
export function mutexTrylock(lock: Mutex): Operation<boolean> {
  return made((lock.operations.trylock ??= new TrylockOwned(lock, 'mutex_trylock')));
}

/** `mutex_unlock(lock)`, by the owner. */
export function mutexUnlock(lock: Mutex): Operation<void> {
  return made((lock.operations.unlock ??= new UnlockOwned(lock, 'mutex_unlock')));
}

/** `mutex_is_locked(lock)`. */
export function mutexIsLocked(lock: Mutex): Operation<boolean> {
  return made((lock.operations.isLocked ??= new IsOwnedLocked(lock, 'mutex_is_locked')));
}

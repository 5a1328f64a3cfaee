/**
 * spinlock_t: one owner, who has preemption off and must not sleep.
 *
 * Modelled: lock, trylock, unlock, and the forms that turn interrupts off as well; that a holder
 * shuts out the other tasks of its CPU; that only the owner may unlock. Simplified: there is no
 * queue, any of the waiting tasks may be next; a spinning task does not shut out its CPU yet.
 * Not modelled: the `_bh` forms.
 *
 * Variables: acquisitions conflict on the first. Releasing conflicts only with trylock and
 * `spin_is_locked`, on the second: a lock that spins was not there to be overtaken. A trylock that
 * fails changes nothing, so it only reads.
 */
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
} from './operation.ts';
import { irqsOff, irqsRestore, preemptCountDec, preemptCountInc } from './preempt.ts';
import { running } from './running.ts';
import type { HeldLock, Task } from './task.ts';

/** spinlock_t. A field of a struct declares one: {@link spinlock}. */
export class Spinlock extends KernelObject {
  owner: Task | null = null;
  /** The step at which it was last locked, or -1. */
  lastAcquire = -1;
  /** The step of the last unlock, or -1. */
  lastRelease = -1;
  readonly pastHolds: PastHold[] = [];
  private readonly lockClass: LockClass;
  private heldNow: HeldLock | null = null;
  private madeOperations: SpinOperations | null = null;

  constructor(at: Placement, lockClass = new LockClass()) {
    super(at);
    this.lockClass = lockClass;
  }

  // Many locks are never taken, and most only ever in one way: what that needs is made on first use.

  get held(): HeldLock {
    return (this.heldNow ??= heldAs(this, 'write', this.lockClass));
  }

  get operations(): SpinOperations {
    return (this.madeOperations ??= {
      lock: null,
      lockIrq: null,
      lockIrqsave: null,
      trylock: null,
      unlock: null,
      unlockIrq: null,
      unlockIrqrestore: null,
      isLocked: null,
      nested: null,
    });
  }
}

interface SpinOperations {
  lock: SpinLock | null;
  lockIrq: SpinLock | null;
  lockIrqsave: SpinLock | null;
  trylock: SpinTrylock | null;
  unlock: SpinUnlock | null;
  unlockIrq: SpinUnlock | null;
  unlockIrqrestore: SpinUnlock | null;
  isLocked: SpinIsLocked | null;
  /** By subclass. */
  nested: SpinLock[] | null;
}

/** A field of type spinlock_t. */
export function spinlock(): FieldSpec<Spinlock> {
  const lockClass = new LockClass();
  return new FieldSpec(2, (at: Placement) => new Spinlock(at, lockClass));
}

abstract class SpinOperation<R> extends Operation<R> {
  readonly lock: Spinlock;
  readonly label: string;

  constructor(lock: Spinlock, label: string) {
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
    preemptCountInc(task);
    running.after(this.lock.lastRelease, mayWait ? this.lock.lastAcquire : -1);
    this.lock.owner = task;
    this.lock.lastAcquire = running.now;
    noteHeld(task, this.lock.held, manner);
  }
}

class SpinLock extends SpinOperation<number> {
  override readonly disablesPreemption = true;
  private readonly turnsIrqsOff: boolean;
  private readonly manner: Manner;

  constructor(lock: Spinlock, label: string, turnsIrqsOff: boolean, manner: Manner = PLAINLY) {
    super(lock, label);
    this.turnsIrqsOff = turnsIrqsOff;
    this.manner = manner;
  }

  override isEnabled(): boolean {
    return this.lock.owner === null;
  }

  footprint(out: Access[]): void {
    out.push(access(this.lock.variable, WRITE));
  }

  /** Returns the flags to restore. */
  perform(task: Task): number {
    const flags = this.turnsIrqsOff ? irqsOff(task) : 0;
    this.acquire(task, true, this.manner);
    return flags;
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

class SpinTrylock extends SpinOperation<boolean> {
  override readonly footprintVaries = true;
  override readonly disablesPreemption = true;

  footprint(out: Access[]): void {
    const { variable, owner } = this.lock;
    out.push(access(variable, owner === null ? WRITE : READ), access(variable + 1, READ));
  }

  perform(task: Task): boolean {
    if (this.lock.owner !== null) return false;
    this.acquire(task, false, BY_TRYLOCK);
    return true;
  }
}

class SpinUnlock extends SpinOperation<void> {
  private readonly turnsIrqsOn: boolean;

  constructor(lock: Spinlock, label: string, turnsIrqsOn: boolean) {
    super(lock, label);
    this.turnsIrqsOn = turnsIrqsOn;
  }

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
    if (this.turnsIrqsOn) irqsRestore(task, (task.argument as number | undefined) ?? 0);
    // A task that has preemption on has been found out above.
    if (task.preemptCount > 0) preemptCountDec(task);
  }
}

class SpinIsLocked extends SpinOperation<boolean> {
  footprint(out: Access[]): void {
    out.push(access(this.lock.variable, READ), access(this.lock.variable + 1, READ));
  }

  perform(): boolean {
    return this.lock.owner !== null;
  }
}

/** `spin_lock(lock)`: preemption is off until the unlock. Never sleeps. */
export function spinLock(lock: Spinlock): Operation<unknown> {
  const { operations } = lock;
  return made((operations.lock ??= new SpinLock(lock, 'spin_lock', false)));
}

/**
 * `spin_lock_nested(lock, subclass)`: for a lock of which another of the same class is held. Lockdep
 * takes each subclass for a class of its own; the order among them is the caller's promise.
 */
export function spinLockNested(lock: Spinlock, subclass: number): Operation<unknown> {
  const nested = (lock.operations.nested ??= []);
  nested[subclass] ??= new SpinLock(lock, 'spin_lock_nested', false, {
    ...PLAINLY,
    subclass,
  });
  return made(nested[subclass]);
}

/** `spin_lock_irq(lock)`: interrupts are off too. */
export function spinLockIrq(lock: Spinlock): Operation<unknown> {
  const { operations } = lock;
  return made((operations.lockIrq ??= new SpinLock(lock, 'spin_lock_irq', true)));
}

/** `spin_lock_irqsave(lock, flags)`: interrupts are off too; returns the flags to restore. */
export function spinLockIrqsave(lock: Spinlock): Operation<number> {
  const { operations } = lock;
  return made((operations.lockIrqsave ??= new SpinLock(lock, 'spin_lock_irqsave', true)));
}

/** `spin_trylock(lock)`: true if it was taken; preemption is as before if it was not. */
export function spinTrylock(lock: Spinlock): Operation<boolean> {
  return made((lock.operations.trylock ??= new SpinTrylock(lock, 'spin_trylock')));
}

/** `spin_unlock(lock)`, by the owner. */
export function spinUnlock(lock: Spinlock): Operation<void> {
  const { operations } = lock;
  return made((operations.unlock ??= new SpinUnlock(lock, 'spin_unlock', false)));
}

/** `spin_unlock_irq(lock)`, by the owner: interrupts are on afterwards, whatever they were before. */
export function spinUnlockIrq(lock: Spinlock): Operation<void> {
  const { operations } = lock;
  return made((operations.unlockIrq ??= new SpinUnlock(lock, 'spin_unlock_irq', true)));
}

/** `spin_unlock_irqrestore(lock, flags)`, with what {@link spinLockIrqsave} returned. */
export function spinUnlockIrqrestore(lock: Spinlock, flags: number): Operation<void> {
  const { operations } = lock;
  operations.unlockIrqrestore ??= new SpinUnlock(lock, 'spin_unlock_irqrestore', true);
  return made(operations.unlockIrqrestore, flags);
}

/** `spin_is_locked(lock)`. */
export function spinIsLocked(lock: Spinlock): Operation<boolean> {
  return made((lock.operations.isLocked ??= new SpinIsLocked(lock, 'spin_is_locked')));
}

/**
 * spinlock_t: one owner, who has preemption off and must not sleep.
 *
 * Modelled: lock, trylock, unlock, and the forms that turn interrupts off as well; that a holder
 * shuts out the other tasks of its CPU; that only the owner may unlock. Simplified: there is no
 * queue, any of the waiting tasks may be next; a spinning task does not shut out its CPU yet.
 * Not modelled: the `_bh` forms. Variables: see owned-lock.ts.
 */
import { PLAINLY, type Manner } from './held-lock.ts';
import { LockClass } from './lock-class.ts';
import { FieldSpec, type Placement } from './memory.ts';
import { made, type Operation } from './operation.ts';
import {
  IsOwnedLocked,
  LockOwned,
  OwnedLock,
  takeLock,
  TrylockOwned,
  UnlockOwned,
} from './owned-lock.ts';
import { irqsOff, irqsRestore, preemptCountDec, preemptCountInc } from './preempt.ts';
import type { Task } from './task.ts';

/** spinlock_t. A field of a struct declares one: {@link spinlock}. */
export class Spinlock extends OwnedLock {
  private madeOperations: SpinOperations | null = null;

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
  isLocked: IsOwnedLocked | null;
  /** By subclass. */
  nested: SpinLock[] | null;
}

/** A field of type spinlock_t. */
export function spinlock(): FieldSpec<Spinlock> {
  const lockClass = new LockClass();
  return new FieldSpec(2, (at: Placement) => new Spinlock(at, lockClass));
}

class SpinLock extends LockOwned<number> {
  override readonly disablesPreemption = true;
  private readonly turnsIrqsOff: boolean;
  private readonly manner: Manner;

  constructor(lock: Spinlock, label: string, turnsIrqsOff: boolean, manner: Manner = PLAINLY) {
    super(lock, label);
    this.turnsIrqsOff = turnsIrqsOff;
    this.manner = manner;
  }

  /** Returns the flags to restore. */
  perform(task: Task): number {
    const flags = this.turnsIrqsOff ? irqsOff(task) : 0;
    preemptCountInc(task);
    takeLock(this.lock, task, true, this.manner);
    return flags;
  }
}

class SpinTrylock extends TrylockOwned {
  override readonly disablesPreemption = true;

  override perform(task: Task): boolean {
    if (this.lock.owner === null) preemptCountInc(task);
    return super.perform(task);
  }
}

class SpinUnlock extends UnlockOwned {
  private readonly turnsIrqsOn: boolean;

  constructor(lock: Spinlock, label: string, turnsIrqsOn: boolean) {
    super(lock, label);
    this.turnsIrqsOn = turnsIrqsOn;
  }

  override perform(task: Task): void {
    super.perform(task);
    if (this.turnsIrqsOn) irqsRestore(task, (task.argument as number | undefined) ?? 0);
    // A task that has preemption on has been found out above.
    if (task.preemptCount > 0) preemptCountDec(task);
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
  return made((lock.operations.isLocked ??= new IsOwnedLocked(lock, 'spin_is_locked')));
}

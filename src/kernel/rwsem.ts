/**
 * struct rw_semaphore: many readers or one writer, who may sleep while holding it.
 *
 * Modelled: both sides with their trylock, killable and interruptible forms, and downgrade_write;
 * that only a holder may release; that reading twice is allowed and counted. Simplified: waiters are
 * not queued, any of them may be next. Unless it is made with `rwsem({ fair: true })`, a writer that
 * waits does not hold up readers; where a deadlock may come from that, make it fair, at the price of
 * one more step for each writer.
 *
 * Variables: acquisitions conflict on the first, except readers with readers. A release conflicts
 * only with the trylock that it lets succeed: the end of writing with `down_read_trylock` on the
 * second; what can leave the semaphore free with `down_write_trylock` on the third. Whoever waits
 * comes after the releases it waited for:
 *
 *     down_read    after the last up_write or downgrade_write
 *     down_write   after the last up_write and every up_read since
 */
import { fn } from './call.ts';
import { PLAINLY, type Manner } from './held-lock.ts';
import { LockClass } from './lock-class.ts';
import { FieldSpec, type KernelObject, type Placement } from './memory.ts';
import { made, type Operation, type Yieldable } from './operation.ts';
import {
  ComeToWrite,
  DowngradeWrite,
  DownRead,
  DownReadSignal,
  DownReadTrylock,
  DownWrite,
  DownWriteSignal,
  DownWriteTrylock,
  IsLocked,
  UpRead,
  UpWrite,
} from './rwsem-operations.ts';
import { FairRwSemaphore, RwSemaphore } from './rwsem-state.ts';
import { signalMayCome, signalWait, untilSignal } from './signal.ts';

export { RwSemaphore } from './rwsem-state.ts';

/** What a rw semaphore may be declared with. */
export interface RwsemOptions {
  /** Whether a writer that waits holds up readers that come after it. */
  readonly fair?: boolean;
}

/** A field of type struct rw_semaphore. */
export function rwsem(options: RwsemOptions = {}): FieldSpec<RwSemaphore> {
  const lockClass = new LockClass();
  if (options.fair === true) {
    return new FieldSpec(4, (at: Placement) => new FairRwSemaphore(at, lockClass));
  }
  return new FieldSpec(3, (at: Placement) => new RwSemaphore(at, lockClass));
}

// ---- what model code calls --------------------------------------------------------------------

const readKillable = signalWait('down_read_killable');
const readInterruptible = signalWait('down_read_interruptible');
const writeKillable = signalWait('down_write_killable');
const writeInterruptible = signalWait('down_write_interruptible');

/** `down_read(sem)`. May sleep. */
export function downRead(lock: RwSemaphore): Operation<void> {
  return made((lock.operations.downRead ??= new DownRead(lock, 'down_read')));
}

/**
 * `down_read_nested(sem, subclass)`: for a semaphore of which another of the same class is held.
 * Lockdep takes each subclass for a class of its own. May sleep.
 */
export function downReadNested(lock: RwSemaphore, subclass: number): Operation<void> {
  const { operations } = lock;
  operations.downRead ??= new DownRead(lock, 'down_read');
  return made(operations.downRead, { ...PLAINLY, subclass } satisfies Manner);
}

/** `down_read_killable(sem)`: 0, or -EINTR if it had to wait and a fatal signal came. May sleep. */
export function downReadKillable(lock: RwSemaphore): Yieldable<number> {
  const { operations } = lock;
  operations.downReadKillable ??= new DownReadSignal(lock, 'down_read_killable');
  return untilSignal(readKillable, operations.downReadKillable);
}

/** `down_read_interruptible(sem)`: 0, or -EINTR if it had to wait and a signal came. May sleep. */
export function downReadInterruptible(lock: RwSemaphore): Yieldable<number> {
  const { operations } = lock;
  operations.downReadInterruptible ??= new DownReadSignal(lock, 'down_read_interruptible');
  return untilSignal(readInterruptible, operations.downReadInterruptible);
}

/** `down_read_trylock(sem)`: true if it was taken. Never sleeps. */
export function downReadTrylock(lock: RwSemaphore): Operation<boolean> {
  const { operations } = lock;
  return made((operations.downReadTrylock ??= new DownReadTrylock(lock, 'down_read_trylock')));
}

/** `up_read(sem)`, by a task that reads. */
export function upRead(lock: RwSemaphore): Operation<void> {
  return made((lock.operations.upRead ??= new UpRead(lock, 'up_read')));
}

function writeOperation(lock: RwSemaphore): DownWrite {
  return (lock.operations.downWrite ??= new DownWrite(lock, 'down_write'));
}

function downWriteIn(lock: RwSemaphore, manner?: Manner): Yieldable<void> {
  if (lock instanceof FairRwSemaphore) return fairDownWrite(lock, manner);
  return made(writeOperation(lock), manner);
}

/** `down_write(sem)`. May sleep. */
export function downWrite(lock: RwSemaphore): Yieldable<void> {
  return downWriteIn(lock);
}

/** `down_write_nested(sem, subclass)`: as {@link downReadNested}, for writing. */
export function downWriteNested(lock: RwSemaphore, subclass: number): Yieldable<void> {
  return downWriteIn(lock, { ...PLAINLY, subclass });
}

/**
 * `down_write_nest_lock(sem, nest)`: for one of several of the same class, taken in any order because
 * whoever takes several holds `nest`. May sleep.
 */
export function downWriteNestLock(lock: RwSemaphore, nest: KernelObject): Yieldable<void> {
  return downWriteIn(lock, { ...PLAINLY, nest });
}

function killableOperation(lock: RwSemaphore): DownWriteSignal {
  const { operations } = lock;
  return (operations.downWriteKillable ??= new DownWriteSignal(lock, 'down_write_killable'));
}

/** `down_write_killable(sem)`: 0, or -EINTR if it had to wait and a fatal signal came. May sleep. */
export function downWriteKillable(lock: RwSemaphore): Yieldable<number> {
  if (lock instanceof FairRwSemaphore) return fairDownWriteKillable(lock);
  return untilSignal(writeKillable, killableOperation(lock));
}

function interruptibleOperation(lock: RwSemaphore): DownWriteSignal {
  return (lock.operations.downWriteInterruptible ??= new DownWriteSignal(
    lock,
    'down_write_interruptible',
  ));
}

/** `down_write_interruptible(sem)`: 0, or -EINTR if it had to wait and a signal came. May sleep. */
export function downWriteInterruptible(lock: RwSemaphore): Yieldable<number> {
  if (lock instanceof FairRwSemaphore) return fairDownWriteInterruptible(lock);
  return untilSignal(writeInterruptible, interruptibleOperation(lock));
}

/** `down_write_trylock(sem)`: true if it was taken. Never sleeps. */
export function downWriteTrylock(lock: RwSemaphore): Operation<boolean> {
  const { operations } = lock;
  return made((operations.downWriteTrylock ??= new DownWriteTrylock(lock, 'down_write_trylock')));
}

/** `up_write(sem)`, by the writer. */
export function upWrite(lock: RwSemaphore): Operation<void> {
  return made((lock.operations.upWrite ??= new UpWrite(lock, 'up_write')));
}

/** `downgrade_write(sem)`: the writer goes on as a reader; nobody writes in between. */
export function downgradeWrite(lock: RwSemaphore): Operation<void> {
  const { operations } = lock;
  return made((operations.downgradeWrite ??= new DowngradeWrite(lock, 'downgrade_write')));
}

/** `rwsem_is_locked(sem)`. */
export function rwsemIsLocked(lock: RwSemaphore): Operation<boolean> {
  return made((lock.operations.isLocked ??= new IsLocked(lock, 'rwsem_is_locked')));
}

// ---- writers of a fair semaphore ----------------------------------------------------------------

function comeToWrite(lock: FairRwSemaphore): Operation<void> {
  return made((lock.operations.comeToWrite ??= new ComeToWrite(lock)));
}

const fairDownWrite = fn(
  function* fairDownWrite(lock: FairRwSemaphore, manner?: Manner) {
    yield* comeToWrite(lock);
    yield* made(writeOperation(lock), manner);
  },
  { name: 'down_write' },
);

const fairDownWriteKillable = fn(
  function* fairDownWriteKillable(lock: FairRwSemaphore) {
    yield* signalMayCome();
    yield* comeToWrite(lock);
    return yield* made(killableOperation(lock));
  },
  { name: 'down_write_killable' },
);

const fairDownWriteInterruptible = fn(
  function* fairDownWriteInterruptible(lock: FairRwSemaphore) {
    yield* signalMayCome();
    yield* comeToWrite(lock);
    return yield* made(interruptibleOperation(lock));
  },
  { name: 'down_write_interruptible' },
);

/**
 * struct rw_semaphore: many readers or one writer, who may sleep while holding it.
 *
 * Modelled: both sides with their trylock, killable and interruptible forms, and downgrade_write;
 * that only a holder may release; that reading twice is allowed and counted. Simplified: waiters are
 * not queued, any of them may be next, and a writer that waits does not hold up new readers.
 *
 * Variables: acquisitions conflict on the first, except readers with readers. A release conflicts
 * only with the trylock that it lets succeed: the end of writing with `down_read_trylock` on the
 * second; what can leave the semaphore free with `down_write_trylock` on the third. Whoever waits
 * comes after the releases it waited for:
 *
 *     down_read    after the last up_write or downgrade_write
 *     down_write   after the last up_write and every up_read since
 */
import { EINTR } from '../base/errno.ts';
import { dropHeld, heldAs } from './held-lock.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import {
  access,
  COMMUTE,
  made,
  Operation,
  READ,
  WRITE,
  type Access,
  type Yieldable,
} from './operation.ts';
import { running } from './running.ts';
import { signalWait, untilSignal } from './signal.ts';
import type { HeldLock, Task } from './task.ts';

export class RwSemaphore extends KernelObject {
  writer: Task | null = null;
  /** The step at which it was last taken for writing, or -1. */
  lastWriteAcquire = -1;
  /** Who reads; a task that reads twice is here twice. */
  readonly readers: Task[] = [];
  /** For each of the readers the step at which it came. */
  readonly readAcquires: number[] = [];
  /** The step of the last up_write or downgrade_write, or -1. */
  lastWriteRelease = -1;
  /** The steps at which readers left since the last writer came, and those at which they came. */
  readonly readReleases: number[] = [];
  readonly readReleasesSince: number[] = [];
  readonly heldShared: HeldLock = heldAs(this, 'read');
  readonly heldExclusive: HeldLock = heldAs(this, 'write');
  /** Made on first use. */
  readonly operations: RwsemOperations = {
    downRead: null,
    downReadKillable: null,
    downReadInterruptible: null,
    downReadTrylock: null,
    upRead: null,
    downWrite: null,
    downWriteKillable: null,
    downWriteInterruptible: null,
    downWriteTrylock: null,
    upWrite: null,
    downgradeWrite: null,
    isLocked: null,
  };

  get canRead(): boolean {
    return this.writer === null;
  }

  get canWrite(): boolean {
    return this.writer === null && this.readers.length === 0;
  }

  /** The variable that acquisitions conflict on. */
  get acquireVariable(): number {
    return this.variable;
  }

  /** The variable of what ends writing. */
  get readableVariable(): number {
    return this.variable + 1;
  }

  /** The variable of what can leave it free. */
  get freeVariable(): number {
    return this.variable + 2;
  }
}

interface RwsemOperations {
  downRead: DownRead | null;
  downReadKillable: DownReadSignal | null;
  downReadInterruptible: DownReadSignal | null;
  downReadTrylock: DownReadTrylock | null;
  upRead: UpRead | null;
  downWrite: DownWrite | null;
  downWriteKillable: DownWriteSignal | null;
  downWriteInterruptible: DownWriteSignal | null;
  downWriteTrylock: DownWriteTrylock | null;
  upWrite: UpWrite | null;
  downgradeWrite: DowngradeWrite | null;
  isLocked: IsLocked | null;
}

/** A field of type struct rw_semaphore. */
export function rwsem(): FieldSpec<RwSemaphore> {
  return new FieldSpec(3, (at: Placement) => new RwSemaphore(at));
}

abstract class RwsemOperation<R> extends Operation<R> {
  readonly lock: RwSemaphore;
  readonly label: string;

  constructor(lock: RwSemaphore, label: string) {
    super(lock.memory);
    this.lock = lock;
    this.label = label;
  }

  describe(_task: Task): string {
    return `${this.label}(&${this.lock.path})`;
  }

  /**
   * @param mayWait whether the operation would have waited for the holders, which it then can come
   *   before or after, but not in between.
   */
  protected acquireRead(task: Task, mayWait: boolean): void {
    const { lock } = this;
    running.after(lock.lastWriteRelease, mayWait ? lock.lastWriteAcquire : -1);
    lock.readers.push(task);
    lock.readAcquires.push(running.now);
    task.heldLocks.push(lock.heldShared);
  }

  protected acquireWrite(task: Task, mayWait: boolean): void {
    const { lock } = this;
    running.after(lock.lastWriteRelease, mayWait ? lock.lastWriteAcquire : -1);
    for (const [at, step] of lock.readReleases.entries()) {
      running.after(step, mayWait ? lock.readReleasesSince[at] : -1);
    }
    lock.readReleases.length = 0;
    lock.readReleasesSince.length = 0;
    lock.writer = task;
    lock.lastWriteAcquire = running.now;
    task.heldLocks.push(lock.heldExclusive);
  }

  /** Everybody who keeps a writer out. */
  protected holders(): readonly Task[] {
    const { writer, readers } = this.lock;
    return writer === null ? [...new Set(readers)] : [writer];
  }

  /** Who read since the last writer, and has left. */
  protected readsBefore(): readonly (readonly [number, number])[] {
    const { readReleases, readReleasesSince } = this.lock;
    return readReleases.map((end, at) => [readReleasesSince[at] ?? -1, end]);
  }

  /** Since when they do. */
  protected holdsSince(): readonly number[] {
    const { writer, readAcquires, lastWriteAcquire } = this.lock;
    return writer === null ? readAcquires : [lastWriteAcquire];
  }
}

// ---- readers --------------------------------------------------------------------------------

class DownRead extends RwsemOperation<void> {
  override readonly maySleep = true;

  override isEnabled(): boolean {
    return this.lock.canRead;
  }

  footprint(out: Access[]): void {
    out.push(access(this.lock.acquireVariable, COMMUTE));
  }

  perform(task: Task): void {
    this.acquireRead(task, true);
  }

  override blockers(): readonly Task[] {
    return this.lock.writer === null ? [] : [this.lock.writer];
  }

  override heldSince(): readonly number[] {
    return this.lock.writer === null ? [] : [this.lock.lastWriteAcquire];
  }
}

/** What a trylock of the reading side touches; so does a wait that a pending signal ends. */
function tryReadFootprint(lock: RwSemaphore, out: Access[]): void {
  out.push(access(lock.acquireVariable, lock.canRead ? COMMUTE : READ));
  out.push(access(lock.readableVariable, READ));
}

class DownReadSignal extends RwsemOperation<number> {
  override readonly maySleep = true;

  override isEnabled(task: Task): boolean {
    return this.lock.canRead || task.hasSignal;
  }

  footprint(out: Access[], task: Task): void {
    if (task.hasSignal) tryReadFootprint(this.lock, out);
    else out.push(access(this.lock.acquireVariable, COMMUTE));
  }

  perform(task: Task): number {
    if (!this.lock.canRead) return -EINTR;
    this.acquireRead(task, !task.hasSignal);
    return 0;
  }

  override blockers(): readonly Task[] {
    return this.lock.writer === null ? [] : [this.lock.writer];
  }

  override heldSince(): readonly number[] {
    return this.lock.writer === null ? [] : [this.lock.lastWriteAcquire];
  }
}

class DownReadTrylock extends RwsemOperation<boolean> {
  footprint(out: Access[]): void {
    tryReadFootprint(this.lock, out);
  }

  perform(task: Task): boolean {
    if (!this.lock.canRead) return false;
    this.acquireRead(task, false);
    return true;
  }
}

class UpRead extends RwsemOperation<void> {
  footprint(out: Access[]): void {
    out.push(access(this.lock.freeVariable, COMMUTE));
  }

  perform(task: Task): void {
    const { lock } = this;
    const own = lock.readers.lastIndexOf(task);
    if (own < 0)
      running.lockMisuse(lock.path, 'up_read by a task that does not hold it for reading');
    // Somebody's hold ends all the same: the count has no names in it.
    const [holder] = lock.readers.splice(own, 1);
    const [since] = lock.readAcquires.splice(own, 1);
    if (holder !== undefined) dropHeld(holder, lock);
    lock.readReleases.push(running.now);
    lock.readReleasesSince.push(since ?? -1);
  }
}

// ---- writers --------------------------------------------------------------------------------

class DownWrite extends RwsemOperation<void> {
  override readonly maySleep = true;

  override isEnabled(): boolean {
    return this.lock.canWrite;
  }

  footprint(out: Access[]): void {
    out.push(access(this.lock.acquireVariable, WRITE));
  }

  perform(task: Task): void {
    this.acquireWrite(task, true);
  }

  override blockers(): readonly Task[] {
    return this.holders();
  }

  override heldSince(): readonly number[] {
    return this.holdsSince();
  }

  override heldBefore(): readonly (readonly [number, number])[] {
    return this.readsBefore();
  }
}

/** What a trylock of the writing side touches; so does a wait that a pending signal ends. */
function tryWriteFootprint(lock: RwSemaphore, out: Access[]): void {
  out.push(access(lock.acquireVariable, lock.canWrite ? WRITE : READ));
  out.push(access(lock.freeVariable, READ));
}

class DownWriteSignal extends RwsemOperation<number> {
  override readonly maySleep = true;

  override isEnabled(task: Task): boolean {
    return this.lock.canWrite || task.hasSignal;
  }

  footprint(out: Access[], task: Task): void {
    if (task.hasSignal) tryWriteFootprint(this.lock, out);
    else out.push(access(this.lock.acquireVariable, WRITE));
  }

  perform(task: Task): number {
    if (!this.lock.canWrite) return -EINTR;
    this.acquireWrite(task, !task.hasSignal);
    return 0;
  }

  override blockers(): readonly Task[] {
    return this.holders();
  }

  override heldSince(): readonly number[] {
    return this.holdsSince();
  }

  override heldBefore(): readonly (readonly [number, number])[] {
    return this.readsBefore();
  }
}

class DownWriteTrylock extends RwsemOperation<boolean> {
  footprint(out: Access[]): void {
    tryWriteFootprint(this.lock, out);
  }

  perform(task: Task): boolean {
    if (!this.lock.canWrite) return false;
    this.acquireWrite(task, false);
    return true;
  }
}

class UpWrite extends RwsemOperation<void> {
  footprint(out: Access[]): void {
    out.push(access(this.lock.readableVariable, COMMUTE), access(this.lock.freeVariable, COMMUTE));
  }

  perform(task: Task): void {
    const { lock } = this;
    endWriting(lock, task, 'up_write');
    lock.lastWriteRelease = running.now;
  }
}

class DowngradeWrite extends RwsemOperation<void> {
  footprint(out: Access[]): void {
    out.push(access(this.lock.readableVariable, COMMUTE));
  }

  perform(task: Task): void {
    const { lock } = this;
    const holder = endWriting(lock, task, 'downgrade_write');
    lock.lastWriteRelease = running.now;
    lock.readers.push(holder);
    lock.readAcquires.push(lock.lastWriteAcquire);
    holder.heldLocks.push(lock.heldShared);
  }
}

/** Ends the hold of the writer, whoever it is, and returns it. */
function endWriting(lock: RwSemaphore, task: Task, what: string): Task {
  if (lock.writer !== task) {
    running.lockMisuse(lock.path, `${what} by a task that does not hold it for writing`);
  }
  const holder = lock.writer ?? task;
  lock.writer = null;
  dropHeld(holder, lock);
  return holder;
}

class IsLocked extends RwsemOperation<boolean> {
  footprint(out: Access[]): void {
    out.push(access(this.lock.acquireVariable, READ), access(this.lock.freeVariable, READ));
  }

  perform(): boolean {
    return !this.lock.canWrite;
  }
}

// ---- what model code calls --------------------------------------------------------------------

const downReadWait = signalWait('down_read_killable');
const downReadInterruptibleWait = signalWait('down_read_interruptible');
const downWriteWait = signalWait('down_write_killable');
const downWriteInterruptibleWait = signalWait('down_write_interruptible');

/** `down_read(sem)`. May sleep. */
export function downRead(lock: RwSemaphore): Operation<void> {
  return made((lock.operations.downRead ??= new DownRead(lock, 'down_read')));
}

/** `down_read_killable(sem)`: 0, or -EINTR if it had to wait and a fatal signal came. May sleep. */
export function downReadKillable(lock: RwSemaphore): Yieldable<number> {
  const { operations } = lock;
  operations.downReadKillable ??= new DownReadSignal(lock, 'down_read_killable');
  return untilSignal(downReadWait, operations.downReadKillable);
}

/** `down_read_interruptible(sem)`: 0, or -EINTR if it had to wait and a signal came. May sleep. */
export function downReadInterruptible(lock: RwSemaphore): Yieldable<number> {
  const { operations } = lock;
  operations.downReadInterruptible ??= new DownReadSignal(lock, 'down_read_interruptible');
  return untilSignal(downReadInterruptibleWait, operations.downReadInterruptible);
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

/** `down_write(sem)`. May sleep. */
export function downWrite(lock: RwSemaphore): Operation<void> {
  return made((lock.operations.downWrite ??= new DownWrite(lock, 'down_write')));
}

/** `down_write_killable(sem)`: 0, or -EINTR if it had to wait and a fatal signal came. May sleep. */
export function downWriteKillable(lock: RwSemaphore): Yieldable<number> {
  const { operations } = lock;
  operations.downWriteKillable ??= new DownWriteSignal(lock, 'down_write_killable');
  return untilSignal(downWriteWait, operations.downWriteKillable);
}

/** `down_write_interruptible(sem)`: 0, or -EINTR if it had to wait and a signal came. May sleep. */
export function downWriteInterruptible(lock: RwSemaphore): Yieldable<number> {
  const { operations } = lock;
  operations.downWriteInterruptible ??= new DownWriteSignal(lock, 'down_write_interruptible');
  return untilSignal(downWriteInterruptibleWait, operations.downWriteInterruptible);
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

/**
 * The operations of an rw semaphore, of which rwsem.ts makes its functions; see there for what they
 * conflict on.
 */
import { EINTR } from '../base/errno.ts';
import { BY_TRYLOCK, PLAINLY, type Manner } from './held-lock.ts';
import { Operation, type Access, type PastHold } from './operation.ts';
import { FairRwSemaphore, type RwSemaphore } from './rwsem-state.ts';
import type { Task } from './task.ts';

export interface RwsemOperations {
  downRead: DownRead;
  downReadKillable: DownReadSignal;
  downReadInterruptible: DownReadSignal;
  downReadTrylock: DownReadTrylock;
  upRead: UpRead;
  comeToWrite: ComeToWrite;
  downWrite: DownWrite;
  downWriteKillable: DownWriteSignal;
  downWriteInterruptible: DownWriteSignal;
  downWriteTrylock: DownWriteTrylock;
  upWrite: UpWrite;
  downgradeWrite: DowngradeWrite;
  isLocked: IsLocked;
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
}

/** How the pending operation is to take the lock, which only lockdep cares about. */
function mannerOf(task: Task): Manner {
  return (task.argument as Manner | undefined) ?? PLAINLY;
}

function describeNested(label: string, { path }: RwSemaphore, task: Task): string {
  const { subclass } = mannerOf(task);
  return subclass === 0 ? `${label}(&${path})` : `${label}_nested(&${path}, ${subclass})`;
}

// ---- readers --------------------------------------------------------------------------------

abstract class ReadWait<R> extends RwsemOperation<R> {
  override readonly maySleep = true;

  override isEnabled(_task: Task): boolean {
    return this.lock.canRead;
  }

  footprint(out: Access[], _task: Task): void {
    this.lock.readFootprint(out);
  }

  override blockers(): readonly Task[] {
    return this.lock.keepsOutReaders;
  }

  override heldSince(): readonly number[] {
    return this.lock.keepsOutReadersSince;
  }

  override heldBefore(_task: Task): readonly PastHold[] {
    return this.lock.pastWithoutReaders;
  }
}

export class DownRead extends ReadWait<void> {
  perform(task: Task): void {
    this.lock.takeForReading(task, true, mannerOf(task));
  }

  override describe(task: Task): string {
    return describeNested(this.label, this.lock, task);
  }
}

export class DownReadSignal extends ReadWait<number> {
  override readonly footprintVaries = true;
  override isEnabled(task: Task): boolean {
    return this.lock.canRead || task.hasSignal;
  }

  override footprint(out: Access[], task: Task): void {
    if (task.hasSignal) this.lock.tryReadFootprint(out);
    else this.lock.readFootprint(out);
  }

  perform(task: Task): number {
    if (!this.lock.canRead) return -EINTR;
    this.lock.takeForReading(task, !task.hasSignal, PLAINLY);
    return 0;
  }

  /** With a signal it would not have waited. */
  override heldBefore(task: Task): readonly PastHold[] {
    return task.hasSignal ? [] : super.heldBefore(task);
  }
}

export class DownReadTrylock extends RwsemOperation<boolean> {
  override readonly footprintVaries = true;
  footprint(out: Access[]): void {
    this.lock.tryReadFootprint(out);
  }

  perform(task: Task): boolean {
    if (!this.lock.canRead) return false;
    this.lock.takeForReading(task, false, BY_TRYLOCK);
    return true;
  }
}

export class UpRead extends RwsemOperation<void> {
  footprint(out: Access[]): void {
    this.lock.upReadFootprint(out);
  }

  perform(task: Task): void {
    this.lock.leaveReading(task);
  }
}

// ---- writers --------------------------------------------------------------------------------

/** Of a fair semaphore only: from here on readers are kept out. */
export class ComeToWrite extends Operation<void> {
  override readonly maySleep = true;
  readonly lock: FairRwSemaphore;

  constructor(lock: FairRwSemaphore) {
    super(lock.memory);
    this.lock = lock;
  }

  footprint(out: Access[]): void {
    this.lock.comeFootprint(out);
  }

  perform(task: Task): void {
    this.lock.come(task);
  }

  describe(): string {
    return `comes to write ${this.lock.path}`;
  }
}

abstract class WriteWait<R> extends RwsemOperation<R> {
  override readonly maySleep = true;

  override isEnabled(_task: Task): boolean {
    return this.lock.canWrite;
  }

  footprint(out: Access[], _task: Task): void {
    this.lock.writeFootprint(out);
  }

  override blockers(): readonly Task[] {
    return this.lock.keepsOutWriters;
  }

  override heldSince(): readonly number[] {
    return this.lock.keepsOutWritersSince;
  }

  override heldBefore(_task: Task): readonly PastHold[] {
    return [...this.lock.pastReadHolds, ...this.lock.pastWriteHolds];
  }
}

export class DownWrite extends WriteWait<void> {
  perform(task: Task): void {
    this.lock.takeForWriting(task, true, mannerOf(task));
  }

  override describe(task: Task): string {
    return describeNested(this.label, this.lock, task);
  }
}

export class DownWriteSignal extends WriteWait<number> {
  override readonly footprintVaries = true;
  override isEnabled(task: Task): boolean {
    return this.lock.canWrite || task.hasSignal;
  }

  override footprint(out: Access[], task: Task): void {
    if (task.hasSignal) this.lock.writeSignalFootprint(out);
    else this.lock.writeFootprint(out);
  }

  perform(task: Task): number {
    if (!this.lock.canWrite) {
      if (this.lock instanceof FairRwSemaphore) this.lock.giveUp(task);
      return -EINTR;
    }
    this.lock.takeForWriting(task, !task.hasSignal, PLAINLY);
    return 0;
  }

  /** With a signal it would not have waited. */
  override heldBefore(task: Task): readonly PastHold[] {
    return task.hasSignal ? [] : super.heldBefore(task);
  }
}

export class DownWriteTrylock extends RwsemOperation<boolean> {
  override readonly footprintVaries = true;
  footprint(out: Access[]): void {
    this.lock.tryWriteFootprint(out);
  }

  perform(task: Task): boolean {
    if (!this.lock.isFree) return false;
    this.lock.takeForWriting(task, false, BY_TRYLOCK);
    return true;
  }
}

export class UpWrite extends RwsemOperation<void> {
  footprint(out: Access[]): void {
    this.lock.upWriteFootprint(out);
  }

  perform(task: Task): void {
    this.lock.leaveWriting(task, 'up_write');
  }
}

export class DowngradeWrite extends RwsemOperation<void> {
  footprint(out: Access[]): void {
    this.lock.downgradeFootprint(out);
  }

  perform(task: Task): void {
    this.lock.downgrade(task);
  }
}

export class IsLocked extends RwsemOperation<boolean> {
  footprint(out: Access[]): void {
    this.lock.isLockedFootprint(out);
  }

  perform(): boolean {
    return !this.lock.isFree;
  }
}

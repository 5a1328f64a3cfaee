/**
 * The state of an rw semaphore: who holds it, since when, whom that keeps out, and what taking and
 * leaving it touches. The operations are in rwsem-operations.ts.
 *
 * Two kinds. In the plain one only holders keep others out. In the fair one a writer that waits keeps
 * out readers that come after it, those included that read already and come once more: so a task may
 * wait for a writer that waits for it.
 */
import { dropHeld, heldAs, noteHeld, type Manner } from './held-lock.ts';
import type { LockClass } from './lock-class.ts';
import { KernelObject, type Placement } from './memory.ts';
import { access, COMMUTE, READ, WRITE, type Access, type PastHold } from './operation.ts';
import { running } from './running.ts';
import type { RwsemOperations } from './rwsem-operations.ts';
import type { HeldLock, Task } from './task.ts';

/** struct rw_semaphore. A field of a struct declares one: `rwsem()`. */
export class RwSemaphore extends KernelObject {
  writer: Task | null = null;
  /** The step at which it was last taken for writing, or -1. */
  lastWriteAcquire = -1;
  /** The step of the last up_write or downgrade_write, or -1. */
  lastWriteRelease = -1;
  /** Who reads; a task that reads twice is here twice. */
  readonly readers: Task[] = [];
  /** For each of the readers the step at which it came. */
  readonly readAcquires: number[] = [];
  /** Who has read since the last writer came. */
  readonly pastReads: PastHold[] = [];
  /** All times for which it was held, those of readers and those of writers. */
  readonly pastReadHolds: PastHold[] = [];
  readonly pastWriteHolds: PastHold[] = [];
  readonly lockClass: LockClass;
  readonly heldExclusive: HeldLock;
  /** Made on first use. */
  readonly operations: Partial<RwsemOperations> = {};

  constructor(at: Placement, lockClass: LockClass) {
    super(at);
    this.lockClass = lockClass;
    this.heldExclusive = heldAs(this, 'write', lockClass);
  }

  /** Whether a reader that comes now is let in. */
  get canRead(): boolean {
    return this.writer === null;
  }

  /** Whether a writer that waits is let in. */
  get canWrite(): boolean {
    return this.writer === null && this.readers.length === 0;
  }

  /** Whether a writer that comes now is let in. */
  get isFree(): boolean {
    return this.canWrite;
  }

  /** The tasks that keep readers out. */
  get keepsOutReaders(): readonly Task[] {
    return this.writer === null ? [] : [this.writer];
  }

  /** Since when they do. */
  get keepsOutReadersSince(): readonly number[] {
    return this.writer === null ? [] : [this.lastWriteAcquire];
  }

  /** When readers were kept out before. Those who wait now came after the last, or the others. */
  get keptOutReaders(): readonly PastHold[] {
    return [[this.lastWriteAcquire, this.lastWriteRelease]];
  }

  /** All times for which readers were kept out. */
  get pastWithoutReaders(): readonly PastHold[] {
    return this.pastWriteHolds;
  }

  /** The tasks that keep writers out. */
  get keepsOutWriters(): readonly Task[] {
    return this.writer === null ? [...new Set(this.readers)] : [this.writer];
  }

  /** Since when they do. */
  get keepsOutWritersSince(): readonly number[] {
    return this.writer === null ? this.readAcquires : [this.lastWriteAcquire];
  }

  // ---- what is touched ----------------------------------------------------------------------

  /** What acquisitions conflict on. */
  protected get acquireVariable(): number {
    return this.variable;
  }

  /** What lets a trylock for reading succeed. */
  protected get readableVariable(): number {
    return this.variable + 1;
  }

  /** What lets a trylock for writing succeed. */
  protected get freeVariable(): number {
    return this.variable + 2;
  }

  readFootprint(out: Access[]): void {
    out.push(access(this.acquireVariable, COMMUTE));
  }

  /** Trying to read, which fails if it has to wait. */
  tryReadFootprint(out: Access[]): void {
    out.push(access(this.acquireVariable, this.canRead ? COMMUTE : READ));
    out.push(access(this.readableVariable, READ));
  }

  writeFootprint(out: Access[]): void {
    out.push(access(this.acquireVariable, WRITE));
  }

  tryWriteFootprint(out: Access[]): void {
    out.push(access(this.acquireVariable, this.isFree ? WRITE : READ));
    out.push(access(this.freeVariable, READ));
  }

  /** A wait for writing that ends at once, because a signal is pending. */
  writeSignalFootprint(out: Access[]): void {
    this.tryWriteFootprint(out);
  }

  upReadFootprint(out: Access[]): void {
    out.push(access(this.freeVariable, COMMUTE));
  }

  upWriteFootprint(out: Access[]): void {
    out.push(access(this.readableVariable, COMMUTE), access(this.freeVariable, COMMUTE));
  }

  downgradeFootprint(out: Access[]): void {
    out.push(access(this.readableVariable, COMMUTE));
  }

  isLockedFootprint(out: Access[]): void {
    out.push(access(this.acquireVariable, READ), access(this.freeVariable, READ));
  }

  // ---- taking and leaving -------------------------------------------------------------------

  /**
   * @param mayWait whether the operation would have waited for those who kept it out, which it then
   *   can come before or after, but not in between.
   */
  takeForReading(task: Task, mayWait: boolean, manner: Manner): void {
    for (const [since, end] of this.keptOutReaders) running.after(end, mayWait ? since : -1);
    this.readers.push(task);
    this.readAcquires.push(running.now);
    noteHeld(task, heldAs(this, 'read', this.lockClass), manner);
  }

  /** As {@link takeForReading}. */
  takeForWriting(task: Task, mayWait: boolean, manner: Manner): void {
    running.after(this.lastWriteRelease, mayWait ? this.lastWriteAcquire : -1);
    for (const [since, end] of this.pastReads) running.after(end, mayWait ? since : -1);
    this.pastReads.length = 0;
    this.writer = task;
    this.lastWriteAcquire = running.now;
    noteHeld(task, this.heldExclusive, manner);
  }

  /** Ends a hold for reading: the task's own, or if it has none, somebody's. */
  leaveReading(task: Task): void {
    const own = this.readers.lastIndexOf(task);
    if (own < 0) {
      running.lockMisuse(this.path, 'up_read by a task that does not hold it for reading');
    }
    // The count has no names in it: one that is too low lets a writer in beside a reader.
    const at = own < 0 ? this.readers.length - 1 : own;
    const [holder] = this.readers.splice(at, 1);
    if (holder === undefined) return;
    const [since] = this.readAcquires.splice(at, 1);
    dropHeld(holder, this);
    if (running.now < 0) return;
    const hold: PastHold = [since ?? -1, running.now];
    this.pastReads.push(hold);
    this.pastReadHolds.push(hold);
  }

  /** Ends the hold for writing, whoever's it is, and returns who it was. */
  leaveWriting(task: Task, what: string): Task {
    if (this.writer !== task) {
      running.lockMisuse(this.path, `${what} by a task that does not hold it for writing`);
    }
    const holder = this.writer ?? task;
    this.writer = null;
    this.lastWriteRelease = running.now;
    if (running.now >= 0) this.pastWriteHolds.push([this.lastWriteAcquire, running.now]);
    dropHeld(holder, this);
    return holder;
  }

  /** The writer goes on as a reader. */
  downgrade(task: Task): void {
    const holder = this.leaveWriting(task, 'downgrade_write');
    this.readers.push(holder);
    this.readAcquires.push(this.lastWriteAcquire);
    // Lockdep has seen it taken; how it is held changes, not where it came from.
    const { subclass, step, frame } = this.heldExclusive;
    const shared = heldAs(this, 'read', this.lockClass);
    holder.heldLocks = [...holder.heldLocks, Object.assign(shared, { subclass, step, frame })];
  }
}

/** A writer that waits, since the step at which it came. */
interface WaitingWriter {
  readonly task: Task;
  readonly since: number;
}

/**
 * One that is fair to writers. Coming to write is a step of its own, from which on readers are kept
 * out until the writer has left. So it is that step which conflicts with readers; taking the semaphore
 * conflicts with other writers only.
 */
export class FairRwSemaphore extends RwSemaphore {
  readonly waiting: WaitingWriter[] = [];
  /** The step from which on the present writer has kept readers out. */
  private writerSince = -1;
  private readonly pastWrites: PastHold[] = [];

  override get canRead(): boolean {
    return this.writer === null && this.waiting.length === 0;
  }

  override get isFree(): boolean {
    return this.canWrite && this.waiting.length === 0;
  }

  override get keepsOutReaders(): readonly Task[] {
    return [...super.keepsOutReaders, ...this.waiting.map((writer) => writer.task)];
  }

  override get keepsOutReadersSince(): readonly number[] {
    const steps = this.waiting.map((writer) => writer.since);
    return this.writer === null ? steps : [this.writerSince, ...steps];
  }

  override get keptOutReaders(): readonly PastHold[] {
    return this.pastWrites;
  }

  override get pastWithoutReaders(): readonly PastHold[] {
    return this.pastWrites;
  }

  /** What coming to write conflicts on. */
  private get comeVariable(): number {
    return this.variable + 3;
  }

  /** A writer comes: writers may come in any order. */
  comeFootprint(out: Access[]): void {
    out.push(access(this.comeVariable, COMMUTE));
  }

  override readFootprint(out: Access[]): void {
    out.push(access(this.comeVariable, READ));
  }

  override tryReadFootprint(out: Access[]): void {
    out.push(access(this.comeVariable, READ), access(this.readableVariable, READ));
  }

  override tryWriteFootprint(out: Access[]): void {
    out.push(access(this.comeVariable, WRITE));
    out.push(access(this.readableVariable, READ), access(this.freeVariable, READ));
  }

  override writeSignalFootprint(out: Access[]): void {
    out.push(access(this.acquireVariable, this.canWrite ? WRITE : READ));
    out.push(access(this.freeVariable, READ));
    // One that gives up no longer keeps anybody out.
    if (!this.canWrite) out.push(access(this.readableVariable, COMMUTE));
  }

  override isLockedFootprint(out: Access[]): void {
    this.tryWriteFootprint(out);
  }

  come(task: Task): void {
    this.waiting.push({ task, since: running.now });
  }

  /** Ends the wait of a writer and returns since when it has waited, or -1 if it has not. */
  private endWait(task: Task): number {
    const at = this.waiting.findIndex((writer) => writer.task === task);
    return at < 0 ? -1 : (this.waiting.splice(at, 1)[0] as WaitingWriter).since;
  }

  giveUp(task: Task): void {
    this.pastWrites.push([this.endWait(task), running.now]);
  }

  override takeForWriting(task: Task, mayWait: boolean, manner: Manner): void {
    super.takeForWriting(task, mayWait, manner);
    const since = this.endWait(task);
    this.writerSince = since < 0 ? running.now : since;
  }

  override leaveWriting(task: Task, what: string): Task {
    const holder = super.leaveWriting(task, what);
    this.pastWrites.push([this.writerSince, running.now]);
    return holder;
  }
}

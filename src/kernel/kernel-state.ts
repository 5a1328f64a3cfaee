/**
 * The state of one execution: tasks, memory, order, findings, and what operations and drivers ask of it
 * while they run. How a step is taken is in kernel.ts.
 */
import { assert } from '../base/assert.ts';
import { clearList, scratchList } from '../base/scratch-list.ts';
import { UsageError } from '../base/usage-error.ts';
import { kernelName } from './call.ts';
import { Cpu, OWN_CPU_FIRST } from './cpu.ts';
import type { Finding, Report } from './finding.ts';
import type { Kernel } from './kernel.ts';
import { Memory, type KernelObject, type MemoryKind } from './memory.ts';
import { OOPS } from './oops.ts';
import { access, READ, type Access, type AccessMode, type Operation } from './operation.ts';
import { SlabMemory } from './slab-memory.ts';
import { Task, type HeldLock } from './task.ts';
import type { Breach, Tracer, Use, Watch } from './watch.ts';

/** How often each injected fault may happen in one execution. */
export interface Budget {
  /** Allocations that fail. */
  readonly allocations: number;
  /** Signals found pending by killable and interruptible waits. */
  readonly signals: number;
  /** Timeouts that fire. */
  readonly timeouts: number;
  /** Freed addresses that the slab hands out again. */
  readonly reuses: number;
  /** Copies from and to user space that fail. */
  readonly userFaults: number;
}

export const NO_FAULTS: Budget = {
  allocations: 0,
  signals: 0,
  timeouts: 0,
  reuses: 0,
  userFaults: 0,
};

export interface KernelOptions {
  readonly budget: Budget;
  readonly watches: readonly Watch[];
  readonly tracer: Tracer | null;
}

/** Where the addresses of the slab begin; each task has an arena of its own. */
export const ARENA_BASE = 0x8800_0000_0000;
const STATIC_BASE = 0x8000_0000_0000;

let fixedVariables = 0;

/**
 * Numbers `count` variables of every kernel once for all, and returns the first: whoever is first to use what they are
 * for, in whatever execution, finds the same ones. Explorers compare footprints of different executions.
 */
export function reserveFixed(count: number): number {
  fixedVariables += count;
  return fixedVariables - count;
}

export abstract class KernelState {
  readonly tasks: Task[] = [];
  readonly cpus = new Map<number, Cpu>();
  readonly budget: Budget;
  /** What is left of the budget; counted down by the operations that draw on it. */
  readonly left: { -readonly [K in keyof Budget]: number };
  /** Steps taken so far; the step being taken has the index `stepCount - 1`. */
  stepCount = 0;
  /** Live memory that came from the slab. */
  readonly slabMemory = new SlabMemory();
  readonly findings: Finding[] = [];
  readonly goals = new Set<string>();
  /** Goals that are reached by calling a function, by its kernel name. */
  readonly goalCalls = new Map<string, string>();
  /**
   * In direct mode where the next address of the slab comes from; 0 in checked mode, where each task has
   * an arena of its own.
   */
  directCursor = 0;
  /** A loop that was given up: what it would have come to remains unknown. */
  cut: { readonly what: string; readonly limit: number } | null = null;
  /** False if no loop is to be given up, however long it takes. */
  givesUp = true;
  /** Lines that model code printed (`pr_info`). */
  readonly log: string[] = [];
  /** State of the kernel's parts, made anew for each execution; see `perKernel`. */
  readonly slots: unknown[] = [];
  /** Where a search for leaks starts, besides `slots`: what is reachable is not leaked. */
  readonly roots: unknown[] = [];
  currentTask: Task;
  /** Whose context set-up and `finally` run in. */
  protected readonly setupTask: Task;

  /** Steps that the present one synchronises with; valid between its effect and the next step. */
  readonly afterSteps: number[] = scratchList();
  /** For each of them the step that began what it ended, or -1; see {@link after}. */
  readonly sinceSteps: number[] = scratchList();
  /** Those of them without which the present step could not even have been waiting. */
  readonly requiredSteps: number[] = scratchList();

  /** Names of memory whose plain accesses are to be noted in `plainAccesses`. */
  visibleMemory: ReadonlySet<string> | null = null;
  /** What the plain code of the present step has touched of the visible memory, and the text it has entered. */
  readonly plainAccesses: Access[] = scratchList();

  protected readonly watches: readonly Watch[];
  /** Those of them that implement the hooks called most. */
  private readonly orderWatches: readonly Watch[];
  /** Loops that try again are among them while they run. */
  readonly accessWatches: Watch[];
  private readonly lockWatches: readonly Watch[];
  protected readonly callWatches: readonly Watch[];
  readonly tracer: Tracer | null;
  private readonly fixedCount = fixedVariables;
  private variableCount = fixedVariables;
  /** The next variable of what is being made by {@link makeFixed}, or -1. */
  private fixedNext = -1;
  /** While a footprint is asked for: then nothing may be made. */
  protected isAsking = false;
  private staticUsed = 0;
  protected nextOwnCpu = OWN_CPU_FIRST;

  constructor(options: KernelOptions) {
    this.budget = options.budget;
    this.left = { ...options.budget };
    this.watches = options.watches;
    this.orderWatches = options.watches.filter((watch) => watch.onOrdered !== undefined);
    this.accessWatches = options.watches.filter(
      (watch) => watch.onPlainAccess !== undefined || watch.onMarkedAccess !== undefined,
    );
    this.lockWatches = options.watches.filter((watch) => watch.onLockTaken !== undefined);
    this.callWatches = options.watches.filter(
      (watch) => watch.onCalled !== undefined || watch.onReturned !== undefined,
    );
    this.tracer = options.tracer;
    this.currentTask = new Task(
      -1,
      {
        name: 'setup',
        kind: 'setup',
        cpu: new Cpu(-1, this.reserveVariables(2)),
        parent: null,
        spawnedAt: -1,
      },
      ARENA_BASE,
      0,
    );
    this.setupTask = this.currentTask;
    for (const watch of this.watches) watch.onStart?.(this.kernel);
  }

  /** Whether anybody looks for what is wrong. */
  get isWatched(): boolean {
    return this.watches.length > 0;
  }

  /** What is handed to the watches: every state is the state of a kernel. */
  protected get kernel(): Kernel {
    return this as unknown as Kernel;
  }

  // ---- order --------------------------------------------------------------------------------

  /** The index of the present step, for objects that remember when something was done to them. */
  get now(): number {
    return this.stepCount - 1;
  }

  /**
   * States that the present step comes after step `index` and sees all that happened before it: a
   * lock after its last release, a load-acquire after the store-release. Ignores -1.
   *
   * @param since the step that began what step `index` ended, where the present step could have come
   *   before the one, or after the other, but not in between: the acquisition that belongs to the
   *   release. Left out for what was not kept waiting.
   */
  after(index: number, since = -1): void {
    if (index < 0) return;
    this.afterSteps.push(index);
    this.sinceSteps.push(since);
  }

  /**
   * The steps that began what keeps the task from going on, as far as its operation and its CPU know:
   * the acquisitions of those who hold the lock. Only together can they be tried the other way round.
   */
  heldSince(task: Task): readonly number[] {
    const { cpu, pending } = task;
    // Shut out from its CPU, a task may be at an operation that nothing else keeps from happening.
    const steps = pending === null || pending.isEnabled(task) ? [] : pending.heldSince(task);
    const isShutOut = cpu.isShared && cpu.excludes(task) && !isInterruptEntry(task);
    return isShutOut ? [...steps, cpu.acquiredAt] : steps;
  }

  /**
   * As {@link after}, for a step that could not even have been reached otherwise: a woken sleeper
   * after its wake-up, a callback after the grace period. Such pairs are never turned round.
   */
  requires(index: number): void {
    if (index < 0) return;
    this.after(index);
    this.requiredSteps.push(index);
  }

  /** Forgets what the step before was ordered after, and touched. */
  protected forgetOrder(): void {
    clearList(this.afterSteps);
    clearList(this.sinceSteps);
    clearList(this.requiredSteps);
    clearList(this.plainAccesses);
  }

  protected notifyOrdered(task: Task): void {
    if (this.orderWatches.length === 0) return;
    for (const watch of this.orderWatches) watch.onOrdered?.(this.kernel, task, this.afterSteps);
  }

  // ---- memory -------------------------------------------------------------------------------

  /** Hands out `count` fresh variables and returns the first. */
  reserveVariables(count: number): number {
    if (this.fixedNext >= 0) {
      this.fixedNext += count;
      return this.fixedNext - count;
    }
    assert(!this.isAsking, 'what a step would touch cannot depend on what is made on first use');
    const first = this.variableCount;
    this.variableCount += count;
    return first;
  }

  get variables(): number {
    return this.variableCount;
  }

  /** Makes something whose variables are fixed: `count` of them, from `first` on; see {@link reserveFixed}. */
  makeFixed<T>(first: number, count: number, make: () => T): T {
    // Numbered after this kernel was made: its module has only now been loaded.
    if (first + count > this.fixedCount) return make();
    const before = this.fixedNext;
    this.fixedNext = first;
    const made = make();
    assert(this.fixedNext === first + count, 'as many variables are made as were reserved');
    this.fixedNext = before;
    return made;
  }

  /** Makes memory for something of the given number of variables. `address` null: static. */
  makeMemory(name: string, kind: MemoryKind, variables: number, address: number | null): Memory {
    const size = variables * 8;
    let start = address;
    if (start === null) {
      start = STATIC_BASE + this.staticUsed;
      this.staticUsed += size;
    }
    const memory = new Memory(
      name,
      kind,
      { address: start, size },
      { first: this.reserveVariables(variables), count: variables },
    );
    if (kind === 'slab') this.slabMemory.add(memory);
    return memory;
  }

  /** Asserts that memory is alive; otherwise this is a use after free, which ends the task. */
  touch(memory: Memory, path: string, verb: Use['verb'] = 'used'): void {
    if (memory.isLive) return;
    for (const watch of this.watches) watch.onDeadAccess?.(this.kernel, memory, { path, verb });
    throw OOPS;
  }

  protected touchFor(operation: Operation<unknown>, task: Task): void {
    const { memory } = operation;
    if (memory !== null && !memory.isLive) this.touch(memory, operation.describe(task), 'run');
  }

  /** Called by every accessor of a plain field. */
  plainAccess(object: KernelObject, key: string, variable: number, mode: AccessMode): void {
    const { memory } = object;
    // Noted also where it is a use after free: that it is one depends on who has freed.
    if (this.visibleMemory?.has(memory.name) === true) {
      this.plainAccesses.push(access(variable, mode));
    }
    if (!memory.isLive) {
      this.touch(memory, fieldPath(object, key), mode === READ ? 'read' : 'written');
    }
    for (const watch of this.accessWatches) {
      watch.onPlainAccess?.(this.kernel, object, key, access(variable, mode));
    }
  }

  /** Called where a field is read on purpose without an operation: the step conflicts with who writes it. */
  hintRead(object: KernelObject, key: string, variable: number): void {
    this.plainAccesses.push(access(variable, READ));
    if (!object.memory.isLive) this.touch(object.memory, fieldPath(object, key), 'read');
    this.markedAccess(object, key, variable, READ);
  }

  /** Called by operations that are a marked access of a field. */
  markedAccess(object: KernelObject, key: string, variable: number, mode: AccessMode): void {
    for (const watch of this.accessWatches) {
      watch.onMarkedAccess?.(this.kernel, object, key, access(variable, mode));
    }
  }

  // ---- findings -----------------------------------------------------------------------------

  /** Adds a finding of the present step. */
  report(report: Report): void {
    const task = report.isGlobal === true ? null : this.currentTask;
    const breach = report.invariant === undefined ? this.classified(report) : report;
    const finding: Finding = {
      kind: report.kind,
      object: report.object,
      message: report.message,
      invariant: breach?.invariant ?? null,
      ...(breach?.explanation === undefined ? {} : { explanation: breach.explanation }),
      memory: report.memory ?? null,
      places: [report.place ?? this.place(), report.otherPlace ?? ''],
      task,
      step: report.isGlobal === true ? this.stepCount : this.now,
      witnesses: report.witnesses ?? [],
      locking: report.locking ?? null,
    };
    this.findings.push(finding);
    this.tracer?.onFinding?.(finding, this.currentTask);
  }

  private classified(report: Report): Breach | null {
    for (const watch of this.watches) {
      const breach = watch.classify?.(this.kernel, report) ?? null;
      if (breach !== null) return breach;
    }
    return null;
  }

  /** Ends the current task, as an oops does. The finding must have been reported. */
  oops(): never {
    throw OOPS;
  }

  /** Where the current task is, in the words of a finding. */
  place(): string {
    const task = this.currentTask;
    return task.functionName;
  }

  badPointer(pointer: string, use: string): never {
    for (const watch of this.watches) watch.onBadPointer?.(this.kernel, pointer, use);
    throw OOPS;
  }

  doubleFree(memory: Memory): never {
    for (const watch of this.watches) watch.onDoubleFree?.(this.kernel, memory);
    throw OOPS;
  }

  noteAllocated(memory: Memory): void {
    memory.allocated = { task: this.currentTask, step: this.now, place: this.place() };
    for (const watch of this.watches) watch.onAllocate?.(this.kernel, memory);
  }

  /** Ends the life of memory. */
  release(memory: Memory): void {
    for (const watch of this.watches) watch.onFree?.(this.kernel, memory);
    memory.isLive = false;
    memory.freed = { task: this.currentTask, step: this.now, place: this.place() };
    this.slabMemory.delete(memory);
  }

  counterMisuse(counter: KernelObject, what: string): void {
    for (const watch of this.watches) watch.onCounterMisuse?.(this.kernel, counter, what);
  }

  /** @param held how it was taken, where that belongs to the story. */
  lockMisuse(lock: string, what: string, held: HeldLock | null = null): void {
    for (const watch of this.watches) watch.onLockMisuse?.(this.kernel, lock, what, held);
  }

  /** `task` is taking a lock, as part of the present step; what it holds does not include it yet. */
  lockTaken(task: Task, held: HeldLock): void {
    for (const watch of this.lockWatches) watch.onLockTaken?.(this.kernel, task, held);
  }

  /** Interrupts are on again, as part of the present step, while `task` holds locks. */
  irqsOnWithLocks(task: Task): void {
    for (const watch of this.lockWatches) watch.onIrqsOnWithLocks?.(this.kernel, task);
  }

  assertion(grade: 'BUG_ON' | 'WARN_ON' | 'lockdep', condition: string): void {
    for (const watch of this.watches) watch.onAssertion?.(this.kernel, grade, condition);
    if (grade === 'BUG_ON') throw OOPS;
  }

  /** `might_sleep()`: a finding if the current task is in atomic context. */
  mightSleep(task: Task, what: string): void {
    if (task.atomicReason() === null) return;
    for (const watch of this.watches) watch.onMaySleep?.(this.kernel, task, what);
  }

  /** The scenario or driver was written wrongly; ends the search with a message. */
  misuse(message: string): never {
    throw new UsageError('MN209', message);
  }
}

/** `kfd_process.mm`: a field as the kernel would write it. */
export function fieldPath(object: KernelObject, key: string): string {
  return object.path === '' ? kernelName(key) : `${object.path}.${kernelName(key)}`;
}

/** Whether the task's next step is the entry of an interrupt, which preemption off does not shut out. */
export function isInterruptEntry(task: Task): boolean {
  return task.kind === 'interrupt' && !task.hasStarted;
}

/**
 * The engine: one execution of a kernel, step by step.
 *
 * `step(task, outcome)` performs the task's pending operation, then resumes the task up to its next
 * operation: everything in between (plain code, calls, returns) belongs to the step. Who steps next
 * and how choices turn out is decided outside, by an explorer, a replay or direct mode.
 *
 * Invariants: a task that is not done has exactly one pending operation; only the innermost frame of
 * a task is resumed; nothing here reads a clock, a random number or any state that outlives the
 * execution.
 */
import { assert, InternalError } from '../base/assert.ts';
import { CALL_DEPTH_MAX, TASK_COUNT_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import { Call, kernelName, type KernelFunction } from './call.ts';
import { Cpu, OWN_CPU_FIRST } from './cpu.ts';
import type { Finding, Report } from './finding.ts';
import { Memory, type KernelObject, type MemoryKind } from './memory.ts';
import { OOPS, Oops } from './oops.ts';
import {
  access,
  DELIVERED,
  Operation,
  READ,
  RESUME,
  type Access,
  type AccessMode,
  type Body,
  type Step,
  type Yieldable,
} from './operation.ts';
import { PLAIN_CODE } from './plain-code.ts';
import { setRunning } from './running.ts';
import { Task, type TaskKind } from './task.ts';
import type { Tracer, Use, Watch } from './watch.ts';

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

/**
 * Added to the outcome of a step: the task stops after the effect of its operation. The plain code that
 * follows, up to its next operation, is then a step of its own, so that others can come in between.
 */
export const PAUSE = 1 << 12;

export interface KernelOptions {
  readonly budget: Budget;
  readonly watches: readonly Watch[];
  readonly tracer: Tracer | null;
}

export type TaskBody = () => Body<unknown>;

const ARENA_BASE = 0x8800_0000_0000;
const ARENA_STRIDES = [2 ** 36, 2 ** 30, 2 ** 24, 2 ** 18] as const;
const STATIC_BASE = 0x8000_0000_0000;

export class Kernel {
  readonly tasks: Task[] = [];
  readonly cpus = new Map<number, Cpu>();
  readonly budget: Budget;
  /** What is left of the budget; counted down by the operations that draw on it. */
  readonly left: { -readonly [K in keyof Budget]: number };
  /** Steps taken so far; the step being taken has the index `stepCount - 1`. */
  stepCount = 0;
  /** Live memory that came from the slab. */
  readonly slabMemory = new Set<Memory>();
  readonly findings: Finding[] = [];
  readonly goals = new Set<string>();
  /** Goals that are reached by calling a function, by its kernel name. */
  readonly goalCalls = new Map<string, string>();
  /** Lines that model code printed (`pr_info`). */
  readonly log: string[] = [];
  /** State of the kernel's parts, made anew for each execution; see `perKernel`. */
  readonly slots: unknown[] = [];
  /** Where a search for leaks starts, besides `slots`: what is reachable is not leaked. */
  readonly roots: unknown[] = [];
  currentTask: Task;
  /** Whose context set-up and `finally` run in. */
  private readonly setupTask: Task;

  /** Steps that the present one synchronises with; valid between its effect and the next step. */
  readonly afterSteps: number[] = [];
  /** For each of them the step that began what it ended, or -1; see {@link after}. */
  readonly sinceSteps: number[] = [];
  /** Those of them without which the present step could not even have been waiting. */
  readonly requiredSteps: number[] = [];

  /** Names of memory whose plain accesses are to be noted in `plainAccesses`. */
  visibleMemory: ReadonlySet<string> | null = null;
  /** What the plain code of the present step has touched of the visible memory. */
  readonly plainAccesses: Access[] = [];

  /** Set by the iterator of an operation or call when it hands itself over. */
  handedOver: Yieldable<unknown> | null = null;
  private madeItem: Yieldable<unknown> | null = null;
  private madeArgument: unknown = undefined;
  private readonly watches: readonly Watch[];
  /** Those of them that implement the hooks called most. */
  private readonly orderWatches: readonly Watch[];
  private readonly accessWatches: readonly Watch[];
  readonly tracer: Tracer | null;
  private variableCount = 0;
  private staticUsed = 0;
  private nextOwnCpu = OWN_CPU_FIRST;

  constructor(options: KernelOptions) {
    this.budget = options.budget;
    this.left = { ...options.budget };
    this.watches = options.watches;
    this.orderWatches = options.watches.filter((watch) => watch.onOrdered !== undefined);
    this.accessWatches = options.watches.filter(
      (watch) => watch.onPlainAccess !== undefined || watch.onMarkedAccess !== undefined,
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
      { start: ARENA_BASE, depth: 0 },
    );
    this.setupTask = this.currentTask;
    for (const watch of this.watches) watch.onStart?.(this);
  }

  // ---- what explorers use -------------------------------------------------------------------

  /** Whether the task can take its next step now. */
  isEnabled(task: Task): boolean {
    const operation = task.pending;
    if (operation === null) return false;
    const { cpu } = task;
    if (cpu.isShared && cpu.excludes(task) && !isInterruptEntry(task)) return false;
    return operation.isEnabled(task);
  }

  /** Appends what the task's next step touches, judged in the present state. */
  footprint(task: Task, out: Access[]): void {
    const operation = task.pending as Operation<unknown>;
    operation.footprint(out, task);
    // Withdrawn: what it conflicts with is what withdrew it, and nothing that came later.
    if (task.isDone) return;
    if (task.cpu.isShared) task.cpu.footprint(task, operation.disablesPreemption, out);
    const text = task.frames.at(-1)?.text ?? null;
    if (text === null) return;
    const variable = this.textVariables.get(text.moduleName);
    if (variable !== undefined) out.push(access(variable, READ));
  }

  /**
   * Takes the task's next step, which must be enabled. `outcome` says how it turns out, from 0 to its
   * arity - 1, and may have {@link PAUSE} added.
   */
  step(task: Task, outcome: number): void {
    const operation = task.pending as Operation<unknown>;
    const before = setRunning(this);
    this.currentTask = task;
    this.stepCount += 1;
    this.afterSteps.length = 0;
    this.sinceSteps.length = 0;
    this.requiredSteps.length = 0;
    this.plainAccesses.length = 0;
    task.lastStep = this.stepCount - 1;
    // An interrupt comes in between all the same: only what turns interrupts off keeps it waiting.
    const since = isInterruptEntry(task) ? -1 : task.cpu.lastReleaseSince;
    task.hasStarted = true;
    if (task.cpu.isShared) this.after(task.cpu.lastRelease, since);
    try {
      this.tracer?.onStep(task, operation, operation.describe(task));
      this.checkText(task);
      this.touchFor(operation, task);
      const result = operation.perform(task, outcome & ~PAUSE);
      this.notifyOrdered(task);
      this.tracer?.onResult(task, result);
      task.pending = null;
      if ((outcome & PAUSE) === 0) {
        this.resume(task, result);
      } else {
        task.pending = PLAIN_CODE;
        task.argument = result;
      }
    } catch (error) {
      this.endByError(task, error);
    }
    if (this.awaited.size > 0) for (const item of this.awaited) item.poll();
    setRunning(before);
  }

  /** Ends the execution: reports what is stuck. Call once, when no task is enabled. */
  finish(): void {
    const before = setRunning(this);
    const blocked = this.tasks.filter((task) => !task.isDone && task.kind !== 'daemon');
    const hasOops = this.tasks.some((task) => task.isOopsed);
    if (blocked.length > 0 && !hasOops) {
      for (const watch of this.watches) watch.onStuck?.(this, blocked);
    }
    this.currentTask = this.setupTask;
    setRunning(before);
  }

  /** Whether every task ran to its end, so that what is left over was really forgotten. */
  get isQuiet(): boolean {
    if (this.setupTask.isOopsed) return false;
    return this.tasks.every((task) => (task.isDone && !task.isOopsed) || task.kind === 'daemon');
  }

  /** Tells the detectors that all is over. Call after `finally` of the scenario. */
  end(): void {
    const before = setRunning(this);
    for (const watch of this.watches) watch.onEnd?.(this);
    setRunning(before);
  }

  // ---- tasks --------------------------------------------------------------------------------

  /**
   * Starts a task. Its code up to the first operation runs at once, as part of the present step, so
   * a body begins with an operation that says when it may start.
   *
   * @param cpu a CPU number, or null for one of its own.
   */
  spawn(name: string, kind: TaskKind, cpu: number | null, body: TaskBody): Task {
    if (this.tasks.length >= TASK_COUNT_MAX) {
      throw new UsageError(
        'MN207',
        `this execution starts more than ${TASK_COUNT_MAX} tasks (work items, callbacks and ` +
          `interrupts included); the last is '${name}'. Use a smaller scenario.`,
      );
    }
    const parent = this.currentTask.kind === 'setup' ? null : this.currentTask;
    const task = new Task(
      this.tasks.length,
      {
        name,
        kind,
        cpu: this.cpu(cpu ?? this.nextOwnCpu++),
        parent,
        spawnedAt: parent === null ? -1 : this.now,
      },
      this.arenaFor(parent),
    );
    task.cpu.contextCount += 1;
    this.tasks.push(task);
    for (const watch of this.watches) watch.onSpawn?.(this, task);
    const callee: KernelFunction = { name, body: () => body(), text: null };
    const spawner = this.currentTask;
    const before = setRunning(this);
    this.currentTask = task;
    try {
      task.frames.push({ callee, generator: body(), call: null, text: null });
      this.resume(task, undefined);
    } catch (error) {
      this.endByError(task, error);
    }
    this.currentTask = spawner;
    setRunning(before);
    return task;
  }

  /**
   * Runs a call or body to its end at once, in the present task, without interleaving: for set-up
   * and `finally`. What would block is an error.
   */
  runNow<R>(body: { [Symbol.iterator](): Iterator<Step, R, unknown> }): R {
    const before = setRunning(this);
    const task = this.currentTask;
    assert(task.kind === 'setup', 'runNow is for set-up and finally');
    const callee: KernelFunction = { name: 'setup', body: () => body as never, text: null };
    const wrapper = (function* run(): Body<unknown> {
      return yield* body;
    })();
    task.isDone = false;
    task.frames.push({ callee, generator: wrapper, call: null, text: null });
    try {
      this.resume(task, undefined);
      while (task.pending !== null) {
        const operation: Operation<unknown> = task.pending;
        if (!operation.isEnabled(task)) {
          throw new UsageError('MN208', `set-up would block at ${operation.describe(task)}`);
        }
        this.afterSteps.length = 0;
        this.sinceSteps.length = 0;
        this.requiredSteps.length = 0;
        this.touchFor(operation, task);
        const result = operation.perform(task, 0);
        task.pending = null;
        this.resume(task, result);
      }
    } catch (error) {
      this.endByError(task, error);
      DELIVERED.value = undefined;
    } finally {
      setRunning(before);
    }
    const value = DELIVERED.value as R;
    DELIVERED.value = undefined;
    return value;
  }

  /** CPU number `id`, made on first use. */
  cpu(id: number): Cpu {
    let cpu = this.cpus.get(id);
    if (cpu === undefined) {
      cpu = new Cpu(id, this.reserveVariables(2));
      this.cpus.set(id, cpu);
    }
    return cpu;
  }

  /**
   * Ends a task that waits to begin what was now cancelled. Its pending operation stays, and must not be
   * enabled any more: it might have come first, so it still conflicts with the cancellation.
   */
  withdraw(task: Task): void {
    task.isDone = true;
  }

  private arenaFor(parent: Task | null): { start: number; depth: number } {
    const depth = parent === null ? 0 : parent.arenaDepth + 1;
    const stride = ARENA_STRIDES[depth] ?? 2 ** 12;
    // Arena 0 of depth 0 belongs to set-up.
    const position = parent === null ? this.tasks.length + 1 : ++parent.childCount;
    return { start: (parent === null ? ARENA_BASE : parent.arenaStart) + position * stride, depth };
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
    const steps = task.pending?.heldSince(task) ?? [];
    const { cpu } = task;
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

  private notifyOrdered(task: Task): void {
    for (const watch of this.orderWatches) watch.onOrdered?.(this, task, this.afterSteps);
  }

  // ---- memory -------------------------------------------------------------------------------

  /** Hands out `count` fresh variables and returns the first. */
  reserveVariables(count: number): number {
    const first = this.variableCount;
    this.variableCount += count;
    return first;
  }

  get variables(): number {
    return this.variableCount;
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
    for (const watch of this.watches) watch.onDeadAccess?.(this, memory, { path, verb });
    throw OOPS;
  }

  private touchFor(operation: Operation<unknown>, task: Task): void {
    const { memory } = operation;
    if (memory !== null && !memory.isLive) this.touch(memory, operation.describe(task), 'run');
  }

  /** Called by every accessor of a plain field. */
  plainAccess(object: KernelObject, key: string, variable: number, mode: AccessMode): void {
    const { memory } = object;
    if (!memory.isLive) {
      this.touch(memory, fieldPath(object, key), mode === READ ? 'read' : 'written');
    }
    if (this.visibleMemory?.has(memory.name) === true) {
      this.plainAccesses.push(access(variable, mode));
    }
    for (const watch of this.accessWatches) {
      watch.onPlainAccess?.(this, object, key, access(variable, mode));
    }
  }

  /** Called by operations that are a marked access of a field. */
  markedAccess(object: KernelObject, key: string, variable: number, mode: AccessMode): void {
    for (const watch of this.accessWatches) {
      watch.onMarkedAccess?.(this, object, key, access(variable, mode));
    }
  }

  // ---- findings -----------------------------------------------------------------------------

  /** Adds a finding of the present step. */
  report(report: Report): void {
    const task = report.isGlobal === true ? null : this.currentTask;
    const finding: Finding = {
      kind: report.kind,
      object: report.object,
      message: report.message,
      invariant: report.invariant ?? null,
      memory: report.memory ?? null,
      places: [report.place ?? this.place(), report.otherPlace ?? ''],
      task,
      step: report.isGlobal === true ? this.stepCount : this.now,
      witnesses: report.witnesses ?? [],
    };
    this.findings.push(finding);
    this.tracer?.onFinding?.(finding, this.currentTask);
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
    for (const watch of this.watches) watch.onBadPointer?.(this, pointer, use);
    throw OOPS;
  }

  doubleFree(memory: Memory): never {
    for (const watch of this.watches) watch.onDoubleFree?.(this, memory);
    throw OOPS;
  }

  noteAllocated(memory: Memory): void {
    memory.allocated = { task: this.currentTask, step: this.now, place: this.place() };
    for (const watch of this.watches) watch.onAllocate?.(this, memory);
  }

  /** Ends the life of memory. */
  release(memory: Memory): void {
    for (const watch of this.watches) watch.onFree?.(this, memory);
    memory.isLive = false;
    memory.freed = { task: this.currentTask, step: this.now, place: this.place() };
    this.slabMemory.delete(memory);
  }

  counterMisuse(counter: KernelObject, what: string): void {
    for (const watch of this.watches) watch.onCounterMisuse?.(this, counter, what);
  }

  lockMisuse(lock: string, what: string): void {
    for (const watch of this.watches) watch.onLockMisuse?.(this, lock, what);
  }

  assertion(grade: 'BUG_ON' | 'WARN_ON' | 'lockdep', condition: string): void {
    for (const watch of this.watches) watch.onAssertion?.(this, grade, condition);
    if (grade === 'BUG_ON') throw OOPS;
  }

  /** `might_sleep()`: a finding if the current task is in atomic context. */
  mightSleep(task: Task, what: string): void {
    if (task.atomicReason() === null) return;
    for (const watch of this.watches) watch.onMaySleep?.(this, task, what);
  }

  /** The scenario or driver was written wrongly; ends the search with a message. */
  misuse(message: string): never {
    throw new UsageError('MN209', message);
  }

  // ---- the engine's loop --------------------------------------------------------------------

  /** Called by every function that hands out an operation or a call. */
  noteMade(item: Yieldable<unknown>, argument: unknown): void {
    if (this.madeItem !== null) this.neverRun(this.madeItem);
    this.madeItem = item;
    this.madeArgument = argument;
    this.tracer?.onMade(this.currentTask, item);
  }

  /** Resumes the task, handing it `value`, up to its next operation or its end. */
  private resume(task: Task, value: unknown): void {
    let delivered = value;
    for (;;) {
      const frame = task.frames.at(-1);
      if (frame === undefined) break;
      DELIVERED.value = delivered;
      const result = frame.generator.next(RESUME);
      if (this.madeItem !== null && (result.done === true || this.madeItem !== result.value)) {
        this.neverRun(this.madeItem);
      }
      if (result.done === true) {
        task.frames.pop();
        this.tracer?.onReturn(task, result.value);
        this.checkText(task);
        delivered = result.value;
        continue;
      }
      const item = result.value;
      this.checkHandedOver(item);
      this.madeItem = null;
      if (item instanceof Operation) {
        task.pending = item;
        task.argument = this.madeArgument;
        if (item.maySleep) this.mightSleep(task, item.describe(task));
        return;
      }
      this.enter(task, item as Call<unknown>);
      delivered = undefined;
    }
    DELIVERED.value = delivered;
    this.endTask(task);
  }

  private enter(task: Task, call: Call<unknown>): void {
    if (task.frames.length >= CALL_DEPTH_MAX) {
      this.misuse(`${call.callee.name}: more than ${CALL_DEPTH_MAX} calls deep`);
    }
    const { callee } = call;
    this.tracer?.onCall(task, call);
    if (this.goalCalls.size > 0) {
      const reached = this.goalCalls.get(callee.name);
      if (reached !== undefined) this.goals.add(reached);
    }
    const generator = callee.body(...(call.args as never[]));
    const text = callee.text ?? task.frames.at(-1)?.text ?? null;
    task.frames.push({ callee, generator, call, text });
    if (callee.text !== null) this.checkText(task);
  }

  /** Conditions that tasks wait for by asking again and again; looked at after each step. */
  readonly awaited = new Set<{ poll(): void }>();

  /** Modules that were unloaded; a task must not be found in their text. */
  readonly unloadedModules = new Set<string>();
  /**
   * What unloading a module conflicts on, by its name: every step of a task that is in its text, or
   * will return there, is a READ.
   */
  readonly textVariables = new Map<string, number>();

  private checkText(task: Task): void {
    if (this.unloadedModules.size === 0) return;
    const top = task.frames.at(-1);
    const text = top?.callee.text;
    if (text === null || text === undefined || !this.unloadedModules.has(text.moduleName)) return;
    for (const watch of this.watches) {
      watch.onUnloadedCode?.(
        this,
        (top as { callee: KernelFunction }).callee.name,
        text.moduleName,
      );
    }
    throw OOPS;
  }

  private endTask(task: Task): void {
    task.isDone = true;
    task.pending = null;
    if (task.kind === 'setup') return;
    for (const held of task.heldLocks) {
      this.lockMisuse(held.path, `still held when task '${task.name}' ended`);
    }
    for (const section of task.readSections) {
      this.lockMisuse(section.path, `a read section is still open when task '${task.name}' ended`);
    }
    if (task.cpu.holders.includes(task)) task.cpu.release(task, this.now);
  }

  private endByError(task: Task, error: unknown): void {
    this.madeItem = null;
    if (error instanceof Oops) {
      this.killTask(task);
      return;
    }
    if (error instanceof TypeError) {
      const use = nullDereference(error.message);
      if (use !== null) {
        try {
          this.badPointer('NULL', use);
        } catch {
          this.killTask(task);
          return;
        }
      }
    }
    if (error instanceof UsageError || error instanceof InternalError) throw error;
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    const wrapped = new UsageError('MN201', `task '${task.name}' threw ${text}`);
    wrapped.cause = error;
    throw wrapped;
  }

  private killTask(task: Task): void {
    task.isDone = true;
    task.isOopsed = true;
    task.pending = null;
    // The frames are dropped, not returned: an abandoned run must not execute model code.
    task.frames.length = 0;
  }

  private checkHandedOver(item: unknown): void {
    const isGood = item instanceof Operation || item instanceof Call;
    if (!isGood) {
      throw new UsageError(
        'MN203',
        `${this.currentTask.functionName} yielded ${describeValue(item)}, which is no operation ` +
          `and no call of an fn(); a body yields only those, with yield*`,
      );
    }
    if (this.handedOver !== item) {
      throw new UsageError(
        'MN203',
        `${this.currentTask.functionName} wrote 'yield' where 'yield*' is needed, before ` +
          nameOf(item as Yieldable<unknown>, this.currentTask),
      );
    }
    this.handedOver = null;
  }

  private neverRun(item: Yieldable<unknown>): never {
    this.madeItem = null;
    throw new UsageError(
      'MN202',
      `${nameOf(item, this.currentTask)} in ${this.currentTask.functionName} was never run; ` +
        `put 'yield*' before it`,
    );
  }
}

/** `kfd_process.mm`: a field as the kernel would write it. */
export function fieldPath(object: KernelObject, key: string): string {
  return object.path === '' ? kernelName(key) : `${object.path}.${kernelName(key)}`;
}

/** Whether the task's next step is the entry of an interrupt, which preemption off does not shut out. */
function isInterruptEntry(task: Task): boolean {
  return task.kind === 'interrupt' && !task.hasStarted;
}

function nameOf(item: Yieldable<unknown>, task: Task): string {
  if (item instanceof Call) return `${item.callee.name}()`;
  return item instanceof Operation ? item.describe(task) : 'an operation';
}

function describeValue(value: unknown): string {
  if (typeof value === 'object' && value !== null) return `a ${value.constructor.name}`;
  return String(value);
}

/** V8's words for a NULL dereference → what was tried, or null if it is another TypeError. */
function nullDereference(message: string): string | null {
  for (const [pattern, verb] of NULL_DEREFERENCES) {
    const match = pattern.exec(message);
    if (match !== null) return `${verb} of ${kernelName(match[1] as string)}`;
  }
  return null;
}

const NULL_DEREFERENCES: readonly (readonly [RegExp, string])[] = [
  [/^Cannot read properties of null \(reading '(.+)'\)$/, 'read'],
  [/^Cannot set properties of null \(setting '(.+)'\)$/, 'write'],
  [/^Cannot destructure property '(.+)' of '.+' as it is null\.$/, 'read'],
];

/**
 * State of one part of the kernel, made anew for each execution: `const devices = perKernel(() =>
 * new DeviceTable())`, then `devices()` wherever it is needed.
 */
export function perKernel<T>(make: (kernel: Kernel) => T): (kernel: Kernel) => T {
  const index = slotCount++;
  return (kernel) => {
    const found = kernel.slots[index];
    if (found !== undefined) return found as T;
    const value = make(kernel);
    kernel.slots[index] = value;
    return value;
  };
}

let slotCount = 0;

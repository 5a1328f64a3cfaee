/**
 * Keeps the books of all notifiers of one execution, for the detectors beside it: who is registered how,
 * which callbacks run and have run, and when the core's own functions are called and return.
 *
 * The core says nothing of it: its functions are known by their names, callbacks by the ops table of the
 * notifier that they are called with. So other versions of a core function, under the same name, are
 * watched as well.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Report } from '../../kernel/finding.ts';
import { StructObject } from '../../kernel/struct.ts';
import type { Frame, HeldLock, Task } from '../../kernel/task.ts';
import type { Breach, Order, Watch } from '../../kernel/watch.ts';
import { MmuNotifierMm } from '../mmu-notifier.ts';
import { CallbackRun, momentNow, NotifierRecord, rawField, type Moment } from './record.ts';

/** A call of one of the core's functions, or of one that exit_mmap makes. */
export interface CoreCall {
  readonly task: Task;
  readonly frame: Frame;
  readonly name: string;
  readonly args: readonly unknown[];
}

/** What one detector wants to know. */
export interface Rule {
  onCall?(call: CoreCall): void;
  onReturn?(call: CoreCall, value: unknown): void;
  /** A callback was called; free_notifier and interval notifiers' invalidate are callbacks, too. */
  onCallback?(run: CallbackRun): void;
  onCallbackReturn?(run: CallbackRun): void;
  onRegistered?(record: NotifierRecord): void;
  /** Nothing of the notifier may run any more, says `record.endedBy`. */
  onEnded?(record: NotifierRecord): void;
  /** `task` has just got the lock of a list; what is under it is as the one before left it. */
  onListLocked?(notifiers: MmuNotifierMm, task: Task): void;
  /** All tasks have ended as they should. */
  onOver?(): void;
  classify?(report: Report): Breach | null;
}

const REGISTER = new Set(['__mmu_notifier_register', 'do_mmu_notifier_register']);
const INSERT = new Set([
  'mmu_interval_notifier_insert',
  'mmu_interval_notifier_insert_locked',
  '__mmu_interval_notifier_insert',
]);
const END = new Set(['mmu_notifier_unregister', 'mmu_interval_notifier_remove']);
const CORE = /^(?:__|do_)?(?:mmu_|mn_)/;
const NOTIFIERS = new Set(['mmu_notifier', 'mmu_interval_notifier']);

/** The argument that is a struct of this name. */
export function argumentOf(args: readonly unknown[], name: string): StructObject | null {
  const found = args.find((item) => item instanceof StructObject && item.structType.name === name);
  return (found as StructObject | undefined) ?? null;
}

/** The function that `frame` was called by, or nothing for the first of a task. */
export function callerName(frame: Frame): string {
  return frame.caller?.callee.name ?? '';
}

export class Ledger implements Watch {
  readonly order: Order | null;
  readonly rules: readonly Rule[];
  readonly records = new Map<StructObject, NotifierRecord>();
  /** Callbacks that each task is in, the outermost first. */
  private readonly inside = new Map<Task, CallbackRun[]>();
  private readonly booted: { kernel: Kernel | null } = { kernel: null };

  constructor(order: Order | null, makeRules: (ledger: Ledger) => readonly Rule[]) {
    this.order = order;
    this.rules = makeRules(this);
  }

  get kernel(): Kernel {
    return this.booted.kernel as Kernel;
  }

  /** The callback that the task is in, the innermost one; null if it is in none. */
  callbackOf(task: Task): CallbackRun | null {
    return this.inside.get(task)?.at(-1) ?? null;
  }

  get now(): Moment {
    return momentNow(this.kernel, this.order);
  }

  /** Callbacks that run at this moment. */
  *runningCallbacks(): Iterable<CallbackRun> {
    for (const runs of this.inside.values()) yield* runs.filter((run) => run.isRunning);
  }

  onStart(kernel: Kernel): void {
    this.booted.kernel = kernel;
  }

  onCalled(_kernel: Kernel, task: Task, frame: Frame): void {
    const { callee, call } = frame;
    if (call === null) return;
    this.beginCallback(task, frame);
    if (callee.text !== null) return;
    if (!isWatched(callee.name) && callerName(frame) !== 'exit_mmap') return;
    const { name } = callee;
    if (REGISTER.has(name) || INSERT.has(name)) this.beginRegistration(frame);
    if (name === 'mmu_notifier_unregister_no_release') this.leave(notifierIn(call.args));
    const event = { task, frame, name, args: call.args };
    for (const rule of this.rules) rule.onCall?.(event);
  }

  onReturned(_kernel: Kernel, task: Task, frame: Frame, value: unknown): void {
    const { callee, call } = frame;
    if (call === null) return;
    if (this.inside.size > 0) this.endCallback(task, frame, value);
    if (callee.text !== null || !isWatched(callee.name)) return;
    const { name } = callee;
    if (REGISTER.has(name) || INSERT.has(name)) this.endRegistration(frame, value);
    const event = { task, frame, name, args: call.args };
    for (const rule of this.rules) rule.onReturn?.(event, value);
    if (END.has(name)) this.end(notifierIn(call.args), name);
  }

  onLockTaken(_kernel: Kernel, task: Task, held: HeldLock): void {
    const { container } = held.lock as { readonly container?: unknown };
    if (!(container instanceof StructObject)) return;
    if (container.structType !== (MmuNotifierMm as unknown)) return;
    for (const rule of this.rules) rule.onListLocked?.(container as MmuNotifierMm, task);
  }

  onEnd(kernel: Kernel): void {
    if (!kernel.isQuiet) return;
    for (const rule of this.rules) rule.onOver?.();
  }

  classify(_kernel: Kernel, report: Report): Breach | null {
    for (const rule of this.rules) {
      const breach = rule.classify?.(report) ?? null;
      if (breach !== null) return breach;
    }
    return null;
  }

  /** What is known of a notifier; begun now if it was never seen. */
  recordOf(notifier: StructObject): NotifierRecord {
    let record = this.records.get(notifier);
    if (record === undefined) {
      record = new NotifierRecord(notifier);
      this.records.set(notifier, record);
    }
    return record;
  }

  // ---- registration -------------------------------------------------------------------------

  private beginRegistration(frame: Frame): void {
    const args = frame.call?.args ?? [];
    const notifier = notifierIn(args);
    // Registering nothing prepares an mm for interval notifiers.
    if (notifier === null) return;
    const record = this.recordOf(notifier);
    if (record.registering !== null) return;
    const isInterval = notifier.structType.name === 'mmu_interval_notifier';
    const isGet = callerName(frame) === 'mmu_notifier_get_locked';
    const kind = isInterval ? 'interval' : isGet ? 'get' : 'register';
    record.begin(kind, argumentOf(args, 'mm_struct'), frame);
  }

  private endRegistration(frame: Frame, value: unknown): void {
    const notifier = notifierIn(frame.call?.args ?? []);
    const record = notifier === null ? undefined : this.records.get(notifier);
    if (record?.registering !== frame) return;
    record.registering = null;
    if (value !== 0) return;
    record.isRegistered = true;
    for (const rule of this.rules) rule.onRegistered?.(record);
  }

  /** Its owner has dropped all translations, and wants to hear no more. */
  private leave(notifier: StructObject | null): void {
    if (notifier !== null) this.recordOf(notifier).isRegistered = false;
  }

  private end(notifier: StructObject | null, by: string): void {
    if (notifier === null) return;
    const record = this.recordOf(notifier);
    record.endedBy = by;
    for (const rule of this.rules) rule.onEnded?.(record);
  }

  // ---- callbacks ----------------------------------------------------------------------------

  private beginCallback(task: Task, frame: Frame): void {
    const notifier = notifierIn(frame.call?.args ?? []);
    if (notifier === null || !CORE.test(callerName(frame))) return;
    const op = opOf(notifier, frame);
    if (op === null) return;
    const record = this.recordOf(notifier);
    const run = new CallbackRun(record, op, { task, frame, step: this.kernel.now });
    const stack = this.inside.get(task);
    if (stack === undefined) this.inside.set(task, [run]);
    else stack.push(run);
    for (const rule of this.rules) rule.onCallback?.(run);
    if (op === 'freeNotifier') this.end(notifier, 'free_notifier');
    else record.add(run);
  }

  private endCallback(task: Task, frame: Frame, value: unknown): void {
    const stack = this.inside.get(task);
    const run = stack?.at(-1);
    if (run?.frame !== frame) return;
    stack?.pop();
    run.end = this.now;
    run.value = value;
    run.wasListed = run.record.isListed;
    for (const rule of this.rules) rule.onCallbackReturn?.(run);
  }
}

/** Asked at each call and return of each function: most are refused by their first letter. */
function isWatched(name: string): boolean {
  const first = name.charCodeAt(0);
  if (first === LETTER_M || first === UNDERSCORE || first === LETTER_D) {
    return name === 'mmdrop' || CORE.test(name);
  }
  return name === 'exit_mmap';
}

const LETTER_M = 0x6d;
const LETTER_D = 0x64;
const UNDERSCORE = 0x5f;

function notifierIn(args: readonly unknown[]): StructObject | null {
  const [first] = args;
  if (!(first instanceof StructObject)) return null;
  return NOTIFIERS.has(first.structType.name) ? first : null;
}

/** Which callback of the notifier was called, by its ops table; null if it is no callback. */
function opOf(notifier: StructObject, frame: Frame): string | null {
  const ops = rawField(notifier, 'ops');
  if (typeof ops !== 'object' || ops === null) return null;
  for (const [op, callable] of Object.entries(ops)) {
    if ((callable as { readonly callee?: unknown } | null)?.callee === frame.callee) return op;
  }
  return null;
}

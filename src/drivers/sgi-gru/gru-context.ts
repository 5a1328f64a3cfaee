/**
 * One context of a GRU chiplet: its configuration handle (CCH), its control block (CB) and the fault handle (TFH)
 * that belongs to it.
 *
 *     program                         chiplet                           driver
 *     stores into the CB              takes the instruction
 *                                       no translation: a miss
 *                                         interrupt                     reads the TFH
 *                                         or "call the OS" in the CB    restart, exception, or user polling
 *                                       goes on
 *     reads the result                done
 *                                                                       CCH: interrupt, and nothing is on its way
 *
 * Modelled: an instruction that is being executed, or waits in an interrupt for its translation, keeps the CCH from
 * being interrupted; one that waits for the program to call the OS does not, and is saved with the context, since
 * it is still in the CB. A TFH that was read and is then hit by an invalidation remembers that. Simplified: a
 * context has one CB; what an instruction does is not in the CB, only a byte that says that there is one.
 * Left out: data segments, messages, exceptions other than of an address.
 *
 * Variables: the first is taken by who starts an instruction and by who interrupts; the second is the TFH's.
 */
import { FieldSpec, KernelObject, type Placement } from '../../kernel/memory.ts';
import {
  access,
  made,
  Operation,
  WRITE,
  type Access,
  type PastHold,
} from '../../kernel/operation.ts';
import { running } from '../../kernel/running.ts';
import type { Task } from '../../kernel/task.ts';
import type { Page } from '../../mm-types/page.ts';

/** What the CB is doing. */
export type RunState = 'idle' | 'running' | 'miss-fmm' | 'miss-upm' | 'exception';

/** What a TFH says: which translation is missing. */
export interface TfhMiss {
  readonly asid: number;
  readonly vaddr: number;
  readonly isWrite: boolean;
}

/** What loading a context puts into its CCH. */
export interface CchSetting {
  readonly asid: number;
  /** Whether a miss is told by an interrupt, or by the CB asking the program to call the OS. */
  readonly interrupts: boolean;
}

/** A field of a struct declares one: {@link gruContext}. Raw fields are for who is in the middle of an operation. */
export class GruContext extends KernelObject {
  /** The page by which programs reach it; given when the chiplet is installed. */
  page: Page | null = null;
  ctxnum = 0;
  isActive = false;
  setting: CchSetting = { asid: 0, interrupts: false };
  run: RunState = 'idle';
  miss: TfhMiss | null = null;
  /** The TFH was read since the miss, and an invalidation came after that. */
  isLatched = false;
  isDisturbed = false;
  holder: Task | null = null;
  private since = -1;
  private released = -1;
  private readonly pastHolds: PastHold[] = [];
  private answeredAt = -1;

  readonly raise = new RaiseMiss(this);
  readonly await = new AwaitMiss(this);
  readonly readTfh = new ReadTfh(this);
  readonly changeTfh = new ChangeTfh(this);
  readonly interrupt = new CchInterruptSync(this);
  readonly allocate = new CchChange(this, 'cch_allocate');
  readonly start = new CchChange(this, 'cch_start');
  readonly deallocate = new CchChange(this, 'cch_deallocate');

  get startVariable(): number {
    return this.variable;
  }
  get tfhVariable(): number {
    return this.variable + 1;
  }
  get heldSince(): readonly number[] {
    return this.holder === null ? [] : [this.since];
  }
  get heldBefore(): readonly PastHold[] {
    return this.pastHolds;
  }

  /** An instruction begins; the present step. */
  hold(task: Task): void {
    running.after(this.released, this.since);
    this.holder = task;
    this.since = running.now;
  }

  /** It is over, or waits for the program: the context may be interrupted. */
  letGo(): void {
    this.holder = null;
    this.released = running.now;
    if (running.now >= 0) this.pastHolds.push([this.since, running.now]);
  }

  /** Who interrupts comes after what was on its way. */
  comeAfterInstruction(): void {
    running.after(this.released, this.since);
  }

  /** The miss is no longer one for the interrupt handler. */
  answer(run: RunState): void {
    this.run = run;
    this.answeredAt = running.now;
  }

  comeAfterAnswer(): void {
    running.requires(this.answeredAt);
  }
}

/** A field that is a context of a chiplet. */
export function gruContext(): FieldSpec<GruContext> {
  return new FieldSpec(2, (at: Placement) => new GruContext(at));
}

abstract class ContextOperation<R> extends Operation<R> {
  protected readonly context: GruContext;

  constructor(context: GruContext) {
    super(context.memory);
    this.context = context;
  }
}

// ---- of the chiplet ------------------------------------------------------------------------------

class RaiseMiss extends ContextOperation<RunState> {
  footprint(out: Access[]): void {
    out.push(access(this.context.tfhVariable, WRITE));
  }

  perform(task: Task): RunState {
    const { context } = this;
    context.miss = task.argument as TfhMiss;
    context.isLatched = false;
    context.isDisturbed = false;
    context.run = context.setting.interrupts ? 'miss-fmm' : 'miss-upm';
    return context.run;
  }

  describe(task: Task): string {
    const { asid, vaddr } = task.argument as TfhMiss;
    return `${this.context.path}: misses 0x${vaddr.toString(16)} of asid ${asid}`;
  }
}

class AwaitMiss extends ContextOperation<RunState> {
  footprint(): void {
    // Only the answer matters, and nobody overtakes that.
  }

  override isEnabled(): boolean {
    return this.context.run !== 'miss-fmm';
  }

  perform(): RunState {
    this.context.comeAfterAnswer();
    return this.context.run;
  }

  describe(): string {
    return `${this.context.path}: waits for its translation`;
  }
}

/** The chiplet has a miss: how it is told. Never sleeps. */
export function raiseMiss(context: GruContext, miss: TfhMiss): Operation<RunState> {
  return made(context.raise, miss);
}

/** The chiplet stands still until the interrupt handler has answered. */
export function awaitMiss(context: GruContext): Operation<RunState> {
  return made(context.await);
}

// ---- of the driver: TFH --------------------------------------------------------------------------

/** What the driver sees in a TFH. */
export interface TfhView {
  readonly run: RunState;
  readonly miss: TfhMiss | null;
}

class ReadTfh extends ContextOperation<TfhView> {
  footprint(out: Access[]): void {
    out.push(access(this.context.tfhVariable, WRITE));
  }

  perform(): TfhView {
    const { context } = this;
    context.isLatched = true;
    context.isDisturbed = false;
    return { run: context.run, miss: context.miss };
  }

  describe(): string {
    return `reads the TFH of ${this.context.path}`;
  }
}

class ChangeTfh extends ContextOperation<void> {
  footprint(out: Access[]): void {
    out.push(access(this.context.tfhVariable, WRITE));
  }

  perform(task: Task): void {
    this.context.answer(task.argument as RunState);
  }

  describe(task: Task): string {
    const name = task.argument === 'exception' ? 'tfh_exception' : 'tfh_user_polling_mode';
    return `${name}(${this.context.path})`;
  }
}

/** Reads the TFH, which is in the cache from here on. Never sleeps. */
export function tfhRead(context: GruContext): Operation<TfhView> {
  return made(context.readTfh);
}

/** `tfh_user_polling_mode(tfh)`: the program is to call the OS. Never sleeps. */
export function tfhUserPollingMode(context: GruContext): Operation<void> {
  return made(context.changeTfh, 'miss-upm');
}

/** `tfh_exception(tfh)`: the instruction ends with an error. Never sleeps. */
export function tfhException(context: GruContext): Operation<void> {
  return made(context.changeTfh, 'exception');
}

// ---- of the driver: CCH --------------------------------------------------------------------------

class CchInterruptSync extends ContextOperation<void> {
  override isEnabled(): boolean {
    return this.context.holder === null;
  }

  override blockers(): readonly Task[] {
    return this.context.holder === null ? [] : [this.context.holder];
  }

  override heldSince(): readonly number[] {
    return this.context.heldSince;
  }

  override heldBefore(): readonly PastHold[] {
    return this.context.heldBefore;
  }

  footprint(out: Access[]): void {
    out.push(access(this.context.startVariable, WRITE));
  }

  perform(): void {
    this.context.comeAfterInstruction();
    this.context.isActive = false;
  }

  describe(): string {
    return `cch_interrupt_sync(${this.context.path})`;
  }
}

type CchCommand = 'cch_allocate' | 'cch_start' | 'cch_deallocate';

/** Commands to a context that executes nothing. */
class CchChange extends ContextOperation<void> {
  private readonly command: CchCommand;

  constructor(context: GruContext, command: CchCommand) {
    super(context);
    this.command = command;
  }

  footprint(out: Access[]): void {
    out.push(access(this.context.startVariable, WRITE), access(this.context.tfhVariable, WRITE));
  }

  perform(task: Task): void {
    const { context, command } = this;
    if (command === 'cch_start') {
      context.isActive = true;
      return;
    }
    context.setting =
      command === 'cch_allocate' ? (task.argument as CchSetting) : { asid: 0, interrupts: false };
    // Whatever was missing is asked for again when the instruction is executed again.
    context.run = 'idle';
    context.miss = null;
  }

  describe(): string {
    return `${this.command}(${this.context.path})`;
  }
}

/** `cch_interrupt_sync(cch)`: waits for the instruction that is on its way; none begins any more. */
export function cchInterruptSync(context: GruContext): Operation<void> {
  return made(context.interrupt);
}

/** `cch_allocate(cch)`: gives the context an ASID. It is not active. Never sleeps. */
export function cchAllocate(context: GruContext, setting: CchSetting): Operation<void> {
  return made(context.allocate, setting);
}

/** `cch_start(cch)`: from here on it takes instructions. Never sleeps. */
export function cchStart(context: GruContext): Operation<void> {
  return made(context.start);
}

/** `cch_deallocate(cch)`: takes the ASID away. It was interrupted before. Never sleeps. */
export function cchDeallocate(context: GruContext): Operation<void> {
  return made(context.deallocate);
}

/**
 * Interrupts: handlers that start between any two operations of the task that runs on their CPU, and
 * run to their end while everything else on that CPU stands still.
 *
 *     CPU0                                  CPU1
 *     x = ...                               raiseIrq()
 *       handler()      while interrupts are on
 *     local_irq_disable()
 *     ...              no handler here
 *     local_irq_enable()
 *
 * Modelled: a handler is in atomic context; it comes while preemption is off, but not while interrupts
 * are, nor inside another handler of its CPU, nor beside itself; an interrupt that is raised again
 * before its handler has begun is one interrupt; one that is disabled stays pending; free_irq and
 * disable_irq wait for the handler.
 * Simplified: what handlers and the code they interrupt share must be ordered by turning interrupts off,
 * although both run on one CPU: the code goes on after the handler, but the handler does not come
 * after the code, so that accesses which a handler can tear apart are found as data races. Left out:
 * shared lines, threaded handlers, priorities, softirqs.
 */
import { EBUSY } from '../base/errno.ts';
import { fn, type KernelCallable } from './call.ts';
import { InterruptEntry, InterruptReturn } from './interrupt-entry.ts';
import { perKernel, type Kernel } from './kernel.ts';
import { textFootprint } from './module.ts';
import {
  access,
  made,
  Operation,
  READ,
  WRITE,
  type Access,
  type Body,
  type PastHold,
} from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

export { interruptBody } from './interrupt-entry.ts';

/** Gets the line and what was handed to requestIrq. Must not sleep. */
export type IrqHandler<D> = KernelCallable<[number, D], unknown>;

class IrqLine {
  readonly number: number;
  /** What everything but running conflicts on. */
  readonly variable: number;
  action: { readonly handler: IrqHandler<never>; readonly data: unknown } | null = null;
  /** The CPU that is interrupted, or null for one of its own. */
  cpu: number | null = null;
  disableDepth = 0;
  /** The step that disabled it last, and those between which it was disabled before; or -1. */
  disabledAt = -1;
  lastEnable = -1;
  lastEnableSince = -1;
  readonly pastDisabled: PastHold[] = [];
  pending: IrqRun | null = null;
  /** The run that began last, whether or not it is over. */
  lastBegun: IrqRun | null = null;

  constructor(kernel: Kernel, line: number) {
    this.number = line;
    this.variable = kernel.reserveVariables(1);
  }
}

const lines = perKernel(() => new Map<number, IrqLine>());

/** Call it from model code, not from a footprint: it may reserve a variable. */
function lineOf(irq: number): IrqLine {
  const known = lines(running);
  let line = known.get(irq);
  if (line === undefined) {
    line = new IrqLine(running, irq);
    known.set(irq, line);
  }
  return line;
}

/** One interrupt, from being raised to the handler's return. */
class IrqRun {
  readonly line: IrqLine;
  /** What withdrawing it conflicts on, once it is withdrawn. */
  readonly variable = running.reserveVariables(1);
  readonly raiseSteps: number[] = [];
  stage: 'pending' | 'running' | 'done' | 'withdrawn' = 'pending';
  task: Task | null = null;
  endStep = -1;

  constructor(line: IrqLine) {
    this.line = line;
  }

  get isOver(): boolean {
    return this.stage === 'done' || this.stage === 'withdrawn';
  }
}

function* runBody(run: IrqRun): Body<void> {
  const action = yield* made(new LineEntry(run));
  if (action !== null) yield* action.handler(run.line.number, action.data as never);
  yield* made(new LineReturn(run));
}

class LineEntry extends InterruptEntry<NonNullable<IrqLine['action']>> {
  override readonly footprintVaries = true;
  readonly run: IrqRun;

  constructor(run: IrqRun) {
    super();
    this.run = run;
  }

  override isEnabled(task: Task): boolean {
    const { stage, line } = this.run;
    if (stage !== 'pending' || line.disableDepth > 0) return false;
    return (line.lastBegun?.isOver ?? true) && super.isEnabled(task);
  }

  override footprint(out: Access[]): void {
    const { stage, variable, line } = this.run;
    const isWithdrawn = stage === 'withdrawn';
    out.push(access(isWithdrawn ? variable : line.variable, WRITE));
    if (!isWithdrawn && line.action !== null) textFootprint(line.action.handler.callee, out);
  }

  override perform(task: Task): IrqLine['action'] {
    super.perform(task);
    const { run } = this;
    const { line } = run;
    for (const step of run.raiseSteps) running.after(step);
    running.after(line.lastEnable, line.lastEnableSince);
    running.requires(line.lastBegun?.endStep ?? -1);
    run.stage = 'running';
    line.pending = null;
    line.lastBegun = run;
    return line.action;
  }

  override describe(): string {
    return `interrupt ${this.run.line.number}`;
  }

  override heldSince(task: Task): readonly number[] {
    const { line } = this.run;
    const steps = super.heldSince(task);
    return line.disableDepth > 0 ? [...steps, line.disabledAt] : steps;
  }

  override heldBefore(task: Task): readonly PastHold[] {
    return [...super.heldBefore(task), ...this.run.line.pastDisabled];
  }
}

class LineReturn extends InterruptReturn {
  readonly run: IrqRun;

  constructor(run: IrqRun) {
    super(null);
    this.run = run;
  }

  override perform(task: Task): void {
    super.perform(task);
    this.run.stage = 'done';
    this.run.endStep = running.now;
  }
}

abstract class LineOperation<R> extends Operation<R> {
  readonly label: string;

  constructor(label: string) {
    super(null);
    this.label = label;
  }

  footprint(out: Access[], task: Task): void {
    out.push(access(this.lineOf(task).variable, WRITE));
  }

  describe(task: Task): string {
    return `${this.label}(${this.lineOf(task).number})`;
  }

  protected lineOf(task: Task): IrqLine {
    return (task.argument as LineRequest).line;
  }
}

interface LineRequest {
  readonly line: IrqLine;
  readonly action: IrqLine['action'];
  readonly cpu: number | null;
}

class RequestIrq extends LineOperation<number> {
  override readonly maySleep = true;

  perform(task: Task): number {
    const { line, action, cpu } = task.argument as LineRequest;
    if (line.action !== null) return -EBUSY;
    line.action = action;
    line.cpu = cpu;
    return 0;
  }
}

class RaiseIrq extends LineOperation<void> {
  perform(task: Task): void {
    const line = this.lineOf(task);
    if (line.action === null) return;
    if (line.pending === null) {
      const run = new IrqRun(line);
      line.pending = run;
      const { name } = line.action.handler.callee;
      run.task = running.spawn(`irq: ${name}`, 'interrupt', line.cpu, () => runBody(run));
    }
    line.pending.raiseSteps.push(running.now);
  }
}

class DisableIrq extends LineOperation<void> {
  perform(task: Task): void {
    const line = this.lineOf(task);
    if (line.disableDepth === 0) line.disabledAt = running.now;
    line.disableDepth += 1;
  }
}

class EnableIrq extends LineOperation<void> {
  perform(task: Task): void {
    const line = this.lineOf(task);
    if (line.disableDepth === 0) {
      running.assertion('WARN_ON', `enable_irq(${line.number}) more often than disable_irq`);
      return;
    }
    line.disableDepth -= 1;
    if (line.disableDepth > 0) return;
    line.lastEnable = running.now;
    line.lastEnableSince = line.disabledAt;
    line.pastDisabled.push([line.disabledAt, running.now]);
  }
}

class RemoveHandler extends LineOperation<void> {
  override readonly footprintVaries = true;
  override readonly maySleep = true;

  override footprint(out: Access[], task: Task): void {
    super.footprint(out, task);
    const { pending } = this.lineOf(task);
    if (pending !== null) out.push(access(pending.variable, WRITE));
  }

  perform(task: Task): void {
    const line = this.lineOf(task);
    const { pending } = line;
    line.action = null;
    line.pending = null;
    if (pending === null) return;
    pending.stage = 'withdrawn';
    running.withdraw(pending.task as Task);
  }
}

/** Which run synchronize_irq waits for. */
class FindRun extends LineOperation<IrqRun | null> {
  override readonly maySleep = true;

  override footprint(out: Access[], task: Task): void {
    out.push(access(this.lineOf(task).variable, READ));
  }

  perform(task: Task): IrqRun | null {
    return this.lineOf(task).lastBegun;
  }
}

class WaitForHandler extends Operation<void> {
  override readonly maySleep = true;

  override isEnabled(task: Task): boolean {
    return (task.argument as IrqRun).isOver;
  }

  override footprint(): void {
    // The handler's end only lets it go on.
  }

  perform(task: Task): void {
    running.requires((task.argument as IrqRun).endStep);
  }

  describe(task: Task): string {
    return `synchronize_irq(${(task.argument as IrqRun).line.number}): done`;
  }

  override blockers(task: Task): readonly Task[] {
    const run = task.argument as IrqRun;
    return run.isOver || run.task === null ? [] : [run.task];
  }
}

const REQUEST = new RequestIrq('request_irq');
const RAISE = new RaiseIrq('raise_irq');
const DISABLE = new DisableIrq('disable_irq');
const ENABLE = new EnableIrq('enable_irq');
const REMOVE = new RemoveHandler('free_irq');
const FIND = new FindRun('synchronize_irq');
const WAIT = new WaitForHandler(null);

function onLine<R>(operation: LineOperation<R>, irq: number): Operation<R> {
  const request: LineRequest = { line: lineOf(irq), action: null, cpu: null };
  return made(operation, request);
}

/**
 * `request_irq(irq, handler, …, data)`: 0, or -EBUSY if the line is taken. May sleep.
 *
 * @param options `cpu`: the CPU whose tasks are interrupted; without it, handlers run beside everything.
 */
export function requestIrq<D>(
  irq: number,
  handler: IrqHandler<D>,
  data: D,
  options: { readonly cpu?: number } = {},
): Operation<number> {
  const { cpu = null } = options;
  const action = { handler: handler as IrqHandler<never>, data };
  return made(REQUEST, { line: lineOf(irq), action, cpu } satisfies LineRequest);
}

/** `free_irq(irq, …)`: the handler is not running on return and never will be again. May sleep. */
export const freeIrq = fn(function* freeIrq(irq: number) {
  yield* onLine(REMOVE, irq);
  yield* synchronizeIrq(irq);
});

/** The device asserts the line. Nothing happens if nobody has requested it. */
export function raiseIrq(irq: number): Operation<void> {
  return onLine(RAISE, irq);
}

/** `disable_irq_nosync(irq)`. Nests. The handler may be running. Never sleeps. */
export function disableIrqNosync(irq: number): Operation<void> {
  return onLine(DISABLE, irq);
}

/** `disable_irq(irq)`: the handler is not running on return. Nests. May sleep. */
export const disableIrq = fn(function* disableIrq(irq: number) {
  yield* onLine(DISABLE, irq);
  yield* synchronizeIrq(irq);
});

/** `enable_irq(irq)`: an interrupt that was raised meanwhile is delivered. Never sleeps. */
export function enableIrq(irq: number): Operation<void> {
  return onLine(ENABLE, irq);
}

/** `synchronize_irq(irq)`: waits for the handler, if it is running. May sleep. */
export const synchronizeIrq = fn(function* synchronizeIrq(irq: number) {
  const run = yield* onLine(FIND, irq);
  if (run !== null) yield* made(WAIT, run);
});

/**
 * What every interrupt handler begins and ends with; see interrupt.ts.
 *
 * A time in which interrupts are off, and the time of a handler, are the same to the next handler: it comes
 * before or after, not in between.
 */
import { made, Operation, type Access, type Body, type PastHold } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

/** Whether interrupts are on and no other handler runs on the task's CPU. */
function isCpuOpen(task: Task): boolean {
  return task.cpu.holders.every((held) => held.irqDisableCount === 0 && held.kind !== 'interrupt');
}

/** What a handler begins with. The engine adds what this conflicts on: the CPU. */
export class InterruptEntry<R> extends Operation<R | null> {
  constructor() {
    super(null);
  }

  override isEnabled(task: Task): boolean {
    return isCpuOpen(task);
  }

  footprint(_out: Access[]): void {
    // See Cpu.footprint.
  }

  perform(task: Task): R | null {
    const { cpu } = task;
    running.after(cpu.lastIrqsOn, cpu.lastIrqsOnSince);
    cpu.acquire(task);
    return null;
  }

  describe(task: Task): string {
    return `interrupt: ${task.name}`;
  }

  override blockers(task: Task): readonly Task[] {
    return task.cpu.holders.filter((held) => held.irqDisableCount > 0 || held.kind === 'interrupt');
  }

  /** Since when a handler has been running, or interrupts have been off. */
  override heldSince(task: Task): readonly number[] {
    if (isCpuOpen(task)) return [];
    const { cpu } = task;
    return [cpu.holders.at(-1)?.kind === 'interrupt' ? cpu.acquiredAt : cpu.irqsOffAt];
  }

  override heldBefore(task: Task): readonly PastHold[] {
    return task.cpu.pastIrqsOff;
  }
}

export class InterruptReturn extends Operation<void> {
  override footprint(): void {
    // Returning only lets others go on.
  }

  /** The engine gives the CPU back when the task has ended. */
  perform(task: Task): void {
    const { cpu } = task;
    cpu.lastIrqsOn = running.now;
    cpu.lastIrqsOnSince = cpu.acquiredAt;
    cpu.irqsWereOff(cpu.acquiredAt, running.now);
  }

  describe(): string {
    return 'return from interrupt';
  }
}

const ENTRY = new InterruptEntry<never>();
const RETURN = new InterruptReturn(null);

/** The body of a task that stands for one interrupt: `body` is its handler. */
export function* interruptBody(body: () => Body<unknown>): Body<void> {
  yield* made(ENTRY);
  yield* body();
  yield* made(RETURN);
}

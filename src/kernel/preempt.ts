/**
 * Preemption and interrupts of a CPU, turned off and on.
 *
 * Modelled: a task that has preemption or interrupts off shuts out the other tasks of its CPU and
 * must not sleep. Preemption nests. Interrupts do not: `local_irq_enable` turns them on however
 * often they were turned off, and only save and restore pairs may be nested, as in Linux.
 * Simplified: bottom halves are not turned off apart from preemption.
 *
 * Spinlocks and read sections use the functions on tasks at the top; model code yields the
 * operations below them.
 */
import { topFrame } from './held-lock.ts';
import { made, Operation, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

function isAlone(task: Task): boolean {
  return task.preemptCount > 0 || task.irqDisableCount > 0;
}

/** Gives the task its CPU; a handler has it anyway, until it ends. */
function acquireCpu(task: Task): void {
  if (task.kind !== 'interrupt') task.cpu.acquire(task);
}

function releaseCpu(task: Task): void {
  if (task.kind !== 'interrupt') task.cpu.release(task, running.now);
}

/** Notes what makes the context of `task` atomic: the present operation, or plain code. */
function noteAtomic(task: Task): void {
  task.atomicOrigin = { operation: task.pending, step: running.now, frame: topFrame(task) };
}

/** Turns preemption off for `task`, which is taking a step that `disablesPreemption`. */
export function preemptCountInc(task: Task): void {
  if (!isAlone(task)) {
    acquireCpu(task);
    if (task.nonBlockCount === 0) noteAtomic(task);
  }
  task.preemptCount += 1;
}

/** Undoes {@link preemptCountInc}. A count that would fall below 0 is a finding. */
export function preemptCountDec(task: Task): void {
  if (task.preemptCount === 0) {
    running.lockMisuse('preempt_count', 'preemption was turned on more often than off');
    return;
  }
  task.preemptCount -= 1;
  if (!isAlone(task)) releaseCpu(task);
}

/** Turns interrupts off and returns what to restore: 1 if they were off already. */
export function irqsOff(task: Task): number {
  const flags = task.irqDisableCount;
  if (flags > 0) return 1;
  if (!isAlone(task)) {
    acquireCpu(task);
    if (task.nonBlockCount === 0) noteAtomic(task);
  }
  task.irqDisableCount = 1;
  // A handler has them off anyway, from its entry on.
  if (task.kind !== 'interrupt') task.cpu.irqsOffAt = running.now;
  return 0;
}

/** Puts interrupts into the state that `flags` stands for; 0 is on. */
export function irqsRestore(task: Task, flags: number): void {
  if (flags > 0 || task.irqDisableCount === 0) {
    if (flags > 0) irqsOff(task);
    return;
  }
  task.irqDisableCount = 0;
  if (task.kind !== 'interrupt') {
    task.cpu.lastIrqsOn = running.now;
    task.cpu.lastIrqsOnSince = task.cpu.irqsOffAt;
    task.cpu.irqsWereOff(task.cpu.irqsOffAt, running.now);
  }
  if (!isAlone(task)) releaseCpu(task);
  if (task.heldLocks.length > 0) running.irqsOnWithLocks(task);
}

/** `non_block_start()`: what follows must not sleep, though it could. Nests; part of the present step. */
export function nonBlockStart(task: Task): void {
  if (!isAlone(task) && task.nonBlockCount === 0) noteAtomic(task);
  task.nonBlockCount += 1;
}

/** `non_block_end()`. */
export function nonBlockEnd(task: Task): void {
  task.nonBlockCount -= 1;
}

abstract class ContextOperation<R> extends Operation<R> {
  readonly label: string;

  constructor(label: string) {
    super(null);
    this.label = label;
  }

  footprint(_out: Access[]): void {
    // Nothing but the CPU, which the engine adds where several tasks share it.
  }

  describe(_task: Task): string {
    return `${this.label}()`;
  }
}

class PreemptDisable extends ContextOperation<void> {
  override readonly disablesPreemption = true;

  perform(task: Task): void {
    preemptCountInc(task);
  }
}

class PreemptEnable extends ContextOperation<void> {
  perform(task: Task): void {
    preemptCountDec(task);
  }
}

class IrqsOff extends ContextOperation<number> {
  override readonly disablesPreemption = true;

  perform(task: Task): number {
    return irqsOff(task);
  }
}

class IrqsOn extends ContextOperation<void> {
  perform(task: Task): void {
    irqsRestore(task, (task.argument as number | undefined) ?? 0);
  }
}

// They belong to no object and keep nothing, so one of each serves all executions.
const PREEMPT_DISABLE = new PreemptDisable('preempt_disable');
const PREEMPT_ENABLE = new PreemptEnable('preempt_enable');
const LOCAL_IRQ_SAVE = new IrqsOff('local_irq_save');
const LOCAL_IRQ_DISABLE = new IrqsOff('local_irq_disable');
const LOCAL_IRQ_RESTORE = new IrqsOn('local_irq_restore');
const LOCAL_IRQ_ENABLE = new IrqsOn('local_irq_enable');

/** `preempt_disable()`. Nests. */
export function preemptDisable(): Operation<void> {
  return made(PREEMPT_DISABLE);
}

/** `preempt_enable()`. */
export function preemptEnable(): Operation<void> {
  return made(PREEMPT_ENABLE);
}

/** `local_irq_save(flags)`: turns interrupts off and returns the flags to restore. */
export function localIrqSave(): Operation<number> {
  return made(LOCAL_IRQ_SAVE);
}

/** `local_irq_restore(flags)`, with what {@link localIrqSave} returned. */
export function localIrqRestore(flags: number): Operation<void> {
  return made(LOCAL_IRQ_RESTORE, flags);
}

/** `local_irq_disable()`. The result means nothing. */
export function localIrqDisable(): Operation<unknown> {
  return made(LOCAL_IRQ_DISABLE);
}

/** `local_irq_enable()`: on, however often they were turned off. */
export function localIrqEnable(): Operation<void> {
  return made(LOCAL_IRQ_ENABLE);
}

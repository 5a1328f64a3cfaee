/**
 * CPUs: who may run while whom is shut out.
 *
 * Tasks of different CPUs interleave freely. Of tasks that share a CPU, one that has preemption off
 * (a spinlock, an RCU read section, preempt_disable) shuts the others out until it turns it on
 * again; an interrupt handler shuts out all of them until it returns, and starts only while
 * interrupts are on.
 * Simplified: a spinning task does not yet have preemption off; it is simply not enabled.
 */
import { access, COMMUTE, WRITE, type Access, type PastHold } from './operation.ts';
import type { Task } from './task.ts';

/** Numbers from here on are CPUs of one task each, which asked for none. */
export const OWN_CPU_FIRST = 1000;

// Most CPUs have one task and never shut anybody out: lists are made when they are needed.
const NOBODY: readonly Task[] = [];
const NEVER: readonly PastHold[] = [];
const NO_STEPS: readonly number[] = [];

export class Cpu {
  readonly id: number;
  /**
   * The first of its two variables. Shutting out others conflicts on the first: shutting out is a
   * WRITE, any other step a COMMUTE. The start of an interrupt handler conflicts on the second, with
   * every step that it could have come before.
   */
  readonly variable: number;
  /** Who shuts out the others, innermost last. */
  holders: readonly Task[] = NOBODY;
  /** Tasks and interrupt handlers that were ever put on it. */
  contextCount = 0;
  /** The step at which the last exclusion ended, or -1. */
  lastRelease = -1;
  /** The step at which that exclusion began, or -1. */
  lastReleaseSince = -1;
  /** All exclusions that are over, from the step that began each to the one that ended it. */
  pastExclusions: readonly PastHold[] = NEVER;
  /** All times, now over, in which interrupts were off or a handler was running. */
  pastIrqsOff: readonly PastHold[] = NEVER;
  private acquireSteps: readonly number[] = NO_STEPS;
  /** The step at which interrupts were last turned on, or -1. */
  lastIrqsOn = -1;
  /** The step at which they had been turned off then, or -1. The same for handlers: entry and end. */
  lastIrqsOnSince = -1;
  /** The step at which a task turned them off last, or -1. */
  irqsOffAt = -1;

  constructor(id: number, variable: number) {
    this.id = id;
    this.variable = variable;
  }

  /**
   * Whether somebody may be shut out. On a CPU with a number that always counts: a task may be put on
   * it later whose steps could have come before those that are taken now. On a task's own CPU it only
   * puts tasks itself, so until it does there is nobody.
   */
  get isShared(): boolean {
    return this.contextCount > 1 || this.id < OWN_CPU_FIRST;
  }

  /** The step at which the present exclusion began, or -1. */
  get acquiredAt(): number {
    return this.acquireSteps.at(-1) ?? -1;
  }

  /** Whether `task` is shut out by another one. */
  excludes(task: Task): boolean {
    const holder = this.holders.at(-1);
    return holder !== undefined && holder !== task;
  }

  /**
   * Appends what a step of `task` touches of the CPU, if the CPU is shared. A step of a task that
   * shuts out the others touches less: nobody could have come in between, so it is the step that
   * began the exclusion that others must be tried before, not this one.
   */
  footprint(task: Task, shutsOut: boolean, out: Access[]): void {
    if (task.kind === 'interrupt') {
      if (!task.hasStarted) out.push(access(this.variable + 1, WRITE));
      return;
    }
    if (task.irqDisableCount > 0) return;
    out.push(access(this.variable + 1, COMMUTE));
    if (!this.holders.includes(task)) {
      out.push(access(this.variable, shutsOut ? WRITE : COMMUTE));
    }
  }

  acquire(task: Task): void {
    this.holders = [...this.holders, task];
    this.acquireSteps = [...this.acquireSteps, task.lastStep];
  }

  release(task: Task, step: number): void {
    const at = this.holders.lastIndexOf(task);
    if (at < 0) return;
    this.lastReleaseSince = this.acquireSteps[at] as number;
    this.holders = this.holders.toSpliced(at, 1);
    this.acquireSteps = this.acquireSteps.toSpliced(at, 1);
    this.lastRelease = step;
    if (step >= 0) this.pastExclusions = [...this.pastExclusions, [this.lastReleaseSince, step]];
  }

  /** Notes a time, now over, in which interrupts were off or a handler was running. */
  irqsWereOff(since: number, end: number): void {
    if (end >= 0) this.pastIrqsOff = [...this.pastIrqsOff, [since, end]];
  }
}

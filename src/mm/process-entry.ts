/**
 * Where threads of a process enter the kernel and where exit waits for them to have left it. Entering and
 * exiting conflict: a call is made before exit, or never.
 */
import { access, COMMUTE, Operation, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';
import type { Process } from './process.ts';

/** Enters the kernel: which calls come before exit and which are never made is decided here. */
export class Enter extends Operation<boolean> {
  readonly process: Process;

  constructor(process: Process) {
    super(null);
    this.process = process;
  }

  footprint(out: Access[]): void {
    out.push(access(this.process.variable, COMMUTE));
  }

  /** False if the process has exited. */
  perform(task: Task): boolean {
    const { process } = this;
    if (process.isExiting) return false;
    process.enter(task);
    return true;
  }

  describe(task: Task): string {
    const text = task.argument as string | (() => string);
    return `syscall ${typeof text === 'string' ? text : text()}`;
  }
}

export class ExitGroup extends Operation<boolean> {
  readonly process: Process;

  constructor(process: Process) {
    super(null);
    this.process = process;
  }

  footprint(out: Access[]): void {
    out.push(access(this.process.variable, WRITE));
  }

  /** False if another thread was first. */
  perform(task: Task): boolean {
    const { process } = this;
    if (process.isExiting) return false;
    process.isExiting = true;
    task.mm = process.mm;
    task.process = process.thread;
    return true;
  }

  describe(): string {
    return 'syscall exit_group()';
  }
}

export class WaitForThreads extends Operation<void> {
  readonly process: Process;

  constructor(process: Process) {
    super(null);
    this.process = process;
  }

  override isEnabled(): boolean {
    return this.process.inside.size === 0;
  }

  footprint(): void {
    // Leaving a call only ever enables this; nothing is turned round.
  }

  perform(): void {
    for (const step of this.process.leaveSteps) running.requires(step);
  }

  override blockers(): readonly Task[] {
    return [...this.process.inside];
  }

  describe(): string {
    return 'the other threads leave the kernel';
  }
}

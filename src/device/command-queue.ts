/**
 * A queue of commands that a device's engine executes one after the other, and the engine.
 *
 *     driver                             engine (a task of the hardware, on no CPU)
 *     submitCommand()                    takes the oldest
 *                                          execute()
 *     haltQueue()   waits for the end of   done
 *                   the present command
 *     ...                                (stands still)
 *     resumeQueue()                      takes the next
 *
 * Modelled: commands in order; a halt ends when the command in progress does, and holds off the next; commands that
 * have not begun can be taken back. Simplified: the ring has room for all, a doorbell is part of the submission,
 * and one who halts must be the one who resumes before another can. Left out: priorities, preemption in the middle
 * of a command, resets.
 *
 * Variables: submissions conflict on the first. Beginning a command conflicts with halting on the second, and with
 * taking commands back on the third.
 */
import { fn, type KernelCallable } from '../kernel/call.ts';
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import {
  access,
  made,
  Operation,
  WRITE,
  type Access,
  type Body,
  type PastHold,
} from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';

interface Submitted<C> {
  readonly command: C;
  readonly step: number;
}

/** A queue of commands of type `C`. A field of a struct declares one: {@link commandQueue}. */
export class CommandQueue<C> extends KernelObject {
  /** Those that have not begun, oldest first; raw. */
  commands: Submitted<C>[] = [];
  /** Who holds the engine: itself while it executes, or who halted it. */
  holder: Task | null = null;
  heldSince = -1;
  lastRelease = -1;
  readonly pastHolds: PastHold[] = [];
  engine: Task | null = null;
  readonly submit = new SubmitCommand<C>(this);
  readonly begin = new BeginCommand<C>(this);
  readonly end = new Release<C>(this, 'ends the command');
  readonly halt = new HaltQueue<C>(this);
  readonly resume = new Release<C>(this, 'resumes');
  readonly takeBack = new TakeBack<C>(this);

  hold(task: Task): void {
    running.after(this.lastRelease, this.heldSince);
    this.holder = task;
    this.heldSince = running.now;
  }

  release(): void {
    this.holder = null;
    this.lastRelease = running.now;
    if (running.now >= 0) this.pastHolds.push([this.heldSince, running.now]);
  }
}

/** A field that is a queue of commands. */
export function commandQueue<C>(): FieldSpec<CommandQueue<C>> {
  return new FieldSpec(3, (at: Placement) => new CommandQueue<C>(at));
}

abstract class QueueOperation<C, R> extends Operation<R> {
  protected readonly queue: CommandQueue<C>;

  constructor(queue: CommandQueue<C>) {
    super(queue.memory);
    this.queue = queue;
  }
}

class SubmitCommand<C> extends QueueOperation<C, void> {
  footprint(out: Access[]): void {
    out.push(access(this.queue.variable, WRITE));
  }

  perform(task: Task): void {
    this.queue.commands.push({ command: task.argument as C, step: running.now });
  }

  describe(): string {
    return `${this.queue.path}: submits a command`;
  }
}

abstract class Holding<C, R> extends QueueOperation<C, R> {
  override isEnabled(_task: Task): boolean {
    return this.queue.holder === null;
  }

  override blockers(): readonly Task[] {
    return this.queue.holder === null ? [] : [this.queue.holder];
  }

  override heldSince(): readonly number[] {
    return this.queue.holder === null ? [] : [this.queue.heldSince];
  }

  override heldBefore(): readonly PastHold[] {
    return this.queue.pastHolds;
  }
}

class BeginCommand<C> extends Holding<C, C> {
  override isEnabled(task: Task): boolean {
    return this.queue.commands.length > 0 && super.isEnabled(task);
  }

  footprint(out: Access[]): void {
    out.push(access(this.queue.variable + 1, WRITE), access(this.queue.variable + 2, WRITE));
  }

  perform(task: Task): C {
    const { command, step } = this.queue.commands.shift() as Submitted<C>;
    running.requires(step);
    this.queue.hold(task);
    return command;
  }

  describe(): string {
    return `${this.queue.path}: begins a command`;
  }
}

class HaltQueue<C> extends Holding<C, void> {
  footprint(out: Access[]): void {
    out.push(access(this.queue.variable + 1, WRITE));
  }

  perform(task: Task): void {
    this.queue.hold(task);
  }

  describe(): string {
    return `${this.queue.path}: halts`;
  }
}

class Release<C> extends QueueOperation<C, void> {
  private readonly verb: string;

  constructor(queue: CommandQueue<C>, verb: string) {
    super(queue);
    this.verb = verb;
  }

  footprint(): void {
    // Nobody was overtaken who waited.
  }

  perform(): void {
    this.queue.release();
  }

  describe(): string {
    return `${this.queue.path}: ${this.verb}`;
  }
}

class TakeBack<C> extends QueueOperation<C, C[]> {
  footprint(out: Access[]): void {
    out.push(access(this.queue.variable, WRITE), access(this.queue.variable + 2, WRITE));
  }

  perform(task: Task): C[] {
    const { queue } = this;
    const isWanted = task.argument as (command: C) => boolean;
    const taken = queue.commands.filter(({ command }) => isWanted(command));
    queue.commands = queue.commands.filter((item) => !taken.includes(item));
    return taken.map(({ command }) => command);
  }

  describe(): string {
    return `${this.queue.path}: takes commands back`;
  }
}

/** Hands a command to the device. Never sleeps. */
export function submitCommand<C>(queue: CommandQueue<C>, command: C): Operation<void> {
  return made(queue.submit, command);
}

/** Holds the engine off, once the command in progress is over. Busy-waits: never sleeps. Pairs with {@link resumeQueue}. */
export function haltQueue<C>(queue: CommandQueue<C>): Operation<void> {
  return made(queue.halt);
}

/** Lets the engine go on. Never sleeps. */
export function resumeQueue<C>(queue: CommandQueue<C>): Operation<void> {
  return made(queue.resume);
}

/** Takes back the commands that `isWanted` chooses and that have not begun, and returns them. Never sleeps. */
export function takeCommandsBack<C>(
  queue: CommandQueue<C>,
  isWanted: (command: C) => boolean,
): Operation<C[]> {
  return made(queue.takeBack, isWanted);
}

/** Executes a command, on the hardware. Must not sleep. */
export type Execute<C> = KernelCallable<[C], void>;

function* engineBody<C>(queue: CommandQueue<C>, execute: Execute<C>): Body<void> {
  for (;;) {
    const command = yield* made(queue.begin);
    yield* execute(command);
    yield* made(queue.end);
  }
}

class StartEngine extends Operation<void> {
  footprint(): void {
    // Nobody knows the engine yet.
  }

  perform(task: Task): void {
    const [queue, execute, name] = task.argument as [
      CommandQueue<unknown>,
      Execute<unknown>,
      string,
    ];
    queue.engine = running.spawn(name, 'daemon', null, () => engineBody(queue, execute));
  }

  describe(task: Task): string {
    return `powers ${(task.argument as [unknown, unknown, string])[2]} on`;
  }
}

const START_ENGINE = new StartEngine(null);

/**
 * Powers the engine of a queue on: from now on it executes what is submitted. Once for each queue. An engine that
 * waits for commands when all is over is no deadlock. Never sleeps.
 */
export const startEngine = fn(function* startEngine(
  queue: CommandQueue<never>,
  execute: Execute<never>,
  name: string,
) {
  yield* made(START_ENGINE, [queue, execute, name]);
});

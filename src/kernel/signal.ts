/**
 * Signals, as far as waiting code notices them: that one is pending, and that killable and
 * interruptible waits end with -EINTR.
 *
 * Modelled: at each place where a task looks for signals, or is about to wait in a way that a signal
 * ends, one may have come; that is a choice, with a budget for the whole execution. A pending signal
 * stays pending. Simplified: all signals are fatal, so that the killable and the interruptible forms
 * do not differ; no task sends them, and none is ever handled.
 *
 * A signal that comes while a task waits is explored as one that comes just before: it then finds
 * what it wants to wait for, or it does not and gives up at once, at any moment at which it could
 * have been waiting. Drawing on the budget in a step that can always be taken, and that can always
 * turn out the other way too, is what makes two tasks that draw on it independent of each other.
 */
import { fn, type KernelCallable } from './call.ts';
import { made, Operation, type Body, type Yieldable } from './operation.ts';
import { current, running } from './running.ts';
import type { Task } from './task.ts';

class SignalChoice extends Operation<boolean> {
  readonly label: string;

  constructor(label: string) {
    super(null);
    this.label = label;
  }

  override footprint(): void {
    // Whether a signal comes is the task's own affair.
  }

  override arity(task: Task): number {
    return !task.hasSignal && running.left.signals > 0 ? 2 : 1;
  }

  perform(task: Task, outcome: number): boolean {
    if (outcome === 1) {
      running.left.signals -= 1;
      task.hasSignal = true;
    }
    return task.hasSignal;
  }

  describe(): string {
    return this.label;
  }
}

const SIGNAL_PENDING = new SignalChoice('signal_pending(current)');
const FATAL_SIGNAL_PENDING = new SignalChoice('fatal_signal_pending(current)');
const SIGNAL_COMES = new SignalChoice('does a signal come?');

/** `signal_pending(current)`. */
export function signalPending(): Operation<boolean> {
  return made(SIGNAL_PENDING);
}

/** `fatal_signal_pending(current)`. */
export function fatalSignalPending(): Operation<boolean> {
  return made(FATAL_SIGNAL_PENDING);
}

/** The choice whether a signal comes, before a wait that it would end. */
export function signalMayCome(): Operation<boolean> {
  return made(SIGNAL_COMES);
}

/** A wait that a signal ends: for what is tried when a signal may have come. */
export type SignalWait = KernelCallable<[Operation<number>], number>;

/** Makes the frame of a wait that a signal ends, under its kernel name. Once, at module level. */
export function signalWait(name: string): SignalWait {
  return fn(
    function* wait(operation: Operation<number>): Body<number> {
      yield* signalMayCome();
      return yield* made(operation);
    },
    { name },
  );
}

/**
 * Hands out `operation`, which returns 0 or -EINTR and which is enabled for a task that has a
 * signal, behind the choice whether one comes. Where none can come, or one has, it is just the
 * operation.
 */
export function untilSignal(wait: SignalWait, operation: Operation<number>): Yieldable<number> {
  if (running.budget.signals === 0 || current().hasSignal) return made(operation);
  return wait(operation);
}

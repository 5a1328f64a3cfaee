/**
 * What fuzz programs are made of: kinds of objects, and for each its operations, twice — by
 * definition (see ../machine.ts), and as the kernel's own. To fuzz another kernel object, add a kind
 * beside these and put it into the sets of ../generate.ts.
 */
import type { Yieldable } from '../../../../src/kernel/operation.ts';
import type { StructObject } from '../../../../src/kernel/struct.ts';
import type { Task } from '../../../../src/kernel/task.ts';
import type { Effect, ObjectDefinition, StepDefinition, View } from '../machine.ts';

/** The struct that a program's objects are in; each has a key of its own. */
export type State = StructObject & Record<string, unknown>;

/** How code on the kernel asks for an operation. */
export interface Request {
  readonly state: State;
  readonly key: string;
  readonly operand: number;
  /** For this task and object: what acquisitions returned that is needed to let go, latest last. */
  readonly kept: number[];
}

export interface FuzzOperation {
  /** `mutex_lock`, for printing. */
  readonly name: string;
  /** The steps it takes, by definition. */
  readonly steps: readonly StepDefinition[];
  /** The same on the kernel. */
  readonly run: (request: Request) => Yieldable<unknown>;
  /** What the task is told, of what the kernel returned; nothing if left out. */
  readonly told?: (result: unknown) => number;
  /** True if what the kernel returned is needed to let go. */
  readonly isKept?: boolean;
  /** True if a loop may do it again and again: the value comes to rest all the same. */
  readonly mayRepeat?: boolean;
}

/** An operation that takes hold of something, and the ways in which it can be let go. */
export interface Acquisition {
  readonly operation: FuzzOperation;
  /** What it returns when it was taken, or null if it always is when it returns. */
  readonly takenWhen: number | null;
  /** Each a list of operations, to be run in this order. */
  readonly releases: readonly (readonly FuzzOperation[])[];
}

export interface Kind extends ObjectDefinition {
  /** Begins the names of its objects. */
  readonly prefix: string;
  /** What it is as a field of a struct. */
  readonly field: () => unknown;
  readonly operations: readonly FuzzOperation[];
  readonly acquisitions: readonly Acquisition[];
  /** What the kernel's object has come to, as the definition shows it. */
  readonly valueOf: (state: State, key: string) => number;
}

/** A program does what no program may do: let go of what it does not hold. */
export class Misuse extends Error {}

/** The name on the kernel of the program's task `number`. */
export function taskName(number: number): string {
  return `t${number}`;
}

/** The number in the program of a task on the kernel, where indexes depend on who came first. */
export function taskNumber(task: Task): number {
  return Number(task.name.slice(1));
}

/** An operation of a single step. */
export function step(take: (view: View) => Effect | null): readonly StepDefinition[] {
  return [{ take }];
}

/** One that may sleep. */
export function sleepingStep(take: (view: View) => Effect | null): readonly StepDefinition[] {
  return [{ take, maySleep: true }];
}

/** Steps of an object whose value is no number. */
export function stepsOf<V>(...list: readonly StepDefinition<V>[]): readonly StepDefinition[] {
  return list as unknown as readonly StepDefinition[];
}

export function asNumber(result: unknown): number {
  return Number(result);
}

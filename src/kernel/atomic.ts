/**
 * atomic_t: counters that are changed in one step.
 *
 * Modelled: updates without a result commute with each other and order nothing; those that return a
 * value are fully ordered and count as a write of the counter even when they leave it as it was.
 * Simplified: values are 32-bit signed and wrap; the `_acquire`, `_release` and `_relaxed` forms are
 * not told apart from the plain ones, since execution is sequentially consistent.
 */
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

export class Atomic extends KernelObject {
  /** The present value. Model code reads it through {@link atomicRead}. */
  value: number;
  /** The step of the last update that returned a value, or -1. */
  lastRelease = -1;
  readonly operations: Record<string, Operation<unknown>> = {};

  constructor(at: Placement, initial: number) {
    super(at);
    this.value = initial | 0;
  }
}

/** A field of type atomic_t. */
export function atomic(initial: number): FieldSpec<Atomic> {
  return new FieldSpec(1, (at) => new Atomic(at, initial));
}

export class AtomicRead extends Operation<number> {
  readonly counter: Atomic;

  constructor(counter: Atomic) {
    super(counter.memory);
    this.counter = counter;
  }

  footprint(out: Access[]): void {
    out.push(access(this.counter.variable, READ));
  }

  perform(): number {
    return this.counter.value;
  }

  describe(): string {
    return `atomic_read(${this.counter.path})`;
  }
}

/** An update whose result nobody sees. */
export class AtomicVoid extends Operation<number> {
  readonly counter: Atomic;
  readonly label: string;

  constructor(counter: Atomic, label: string) {
    super(counter.memory);
    this.counter = counter;
    this.label = label;
  }

  footprint(out: Access[]): void {
    out.push(access(this.counter.variable, COMMUTE));
  }

  perform(task: Task): number {
    this.counter.value = (this.counter.value + (task.argument as number)) | 0;
    return 0;
  }

  describe(): string {
    return `${this.label}(${this.counter.path})`;
  }
}

/** An update that returns the value before. Pairs with every other one on the counter. */
export class AtomicUpdate extends Operation<number> {
  readonly counter: Atomic;
  readonly label: string;

  constructor(counter: Atomic, label: string) {
    super(counter.memory);
    this.counter = counter;
    this.label = label;
  }

  footprint(out: Access[]): void {
    out.push(access(this.counter.variable, WRITE));
  }

  perform(task: Task): number {
    const { counter } = this;
    const before = counter.value;
    running.after(counter.lastRelease);
    const change = task.argument as (value: number) => number;
    counter.value = change(before) | 0;
    counter.lastRelease = running.now;
    return before;
  }

  describe(): string {
    return `${this.label}(${this.counter.path})`;
  }
}

/** What an {@link AtomicTest} does to the counter, and what it returns: of the value before. */
interface Test {
  readonly change: (before: number) => number;
  readonly holds: (before: number) => boolean;
}

/** An update that returns whether something held. Pairs with every other one on the counter. */
export class AtomicTest extends Operation<boolean> {
  readonly counter: Atomic;
  readonly label: string;
  readonly test: Test;

  constructor(counter: Atomic, label: string, test: Test) {
    super(counter.memory);
    this.counter = counter;
    this.label = label;
    this.test = test;
  }

  footprint(out: Access[]): void {
    out.push(access(this.counter.variable, WRITE));
  }

  perform(): boolean {
    const { counter, test } = this;
    const before = counter.value;
    running.after(counter.lastRelease);
    counter.value = test.change(before) | 0;
    counter.lastRelease = running.now;
    return test.holds(before);
  }

  describe(): string {
    return `${this.label}(${this.counter.path})`;
  }
}

/** The operation `label` of the counter, made on first use. */
export function atomicOperation<R = number>(
  counter: Atomic,
  label: string,
  build: (counter: Atomic, label: string) => Operation<R>,
): Operation<R> {
  const found = counter.operations[label];
  if (found !== undefined) return found as Operation<R>;
  const operation = build(counter, label);
  counter.operations[label] = operation;
  return operation;
}

/** `atomic_read(v)`. */
export function atomicRead(counter: Atomic): Operation<number> {
  return made(atomicOperation(counter, 'atomic_read', (at) => new AtomicRead(at)));
}

function update(
  counter: Atomic,
  label: string,
  change: (value: number) => number,
): Operation<number> {
  const operation = atomicOperation(counter, label, (at, name) => new AtomicUpdate(at, name));
  return made(operation, change);
}

function add(counter: Atomic, label: string, amount: number): Operation<number> {
  return made(
    atomicOperation(counter, label, (at, name) => new AtomicVoid(at, name)),
    amount,
  );
}

/** `atomic_inc(v)`. Commutes with other void updates and orders nothing. */
export function atomicInc(counter: Atomic): Operation<number> {
  return add(counter, 'atomic_inc', 1);
}

/** `atomic_dec(v)`. */
export function atomicDec(counter: Atomic): Operation<number> {
  return add(counter, 'atomic_dec', -1);
}

/** `atomic_add(amount, v)`. */
export function atomicAdd(counter: Atomic, amount: number): Operation<number> {
  return add(counter, 'atomic_add', amount);
}

/** `atomic_fetch_add(amount, v)`; returns the value before. */
export function atomicFetchAdd(counter: Atomic, amount: number): Operation<number> {
  return update(counter, 'atomic_fetch_add', (value) => value + amount);
}

/** `atomic_xchg(v, value)`; returns the value before. */
export function atomicXchg(counter: Atomic, value: number): Operation<number> {
  return update(counter, 'atomic_xchg', () => value);
}

/** `atomic_cmpxchg(v, expected, value)`; returns the value before. */
export function atomicCmpxchg(counter: Atomic, expected: number, value: number): Operation<number> {
  return update(counter, 'atomic_cmpxchg', (before) => (before === expected ? value : before));
}

function updateAndTest(counter: Atomic, label: string, test: Test): Operation<boolean> {
  return made(atomicOperation(counter, label, (at, name) => new AtomicTest(at, name, test)));
}

const INC_NOT_ZERO: Test = {
  change: (before) => (before === 0 ? 0 : before + 1),
  holds: (before) => before !== 0,
};

const DEC_AND_TEST: Test = { change: (before) => before - 1, holds: (before) => before === 1 };

/**
 * `atomic_inc_not_zero(v)`: false, and nothing is added, if the value is 0. Counts as a write of the
 * counter even then.
 */
export function atomicIncNotZero(counter: Atomic): Operation<boolean> {
  return updateAndTest(counter, 'atomic_inc_not_zero', INC_NOT_ZERO);
}

/** `atomic_dec_and_test(v)`: true if the value became 0. */
export function atomicDecAndTest(counter: Atomic): Operation<boolean> {
  return updateAndTest(counter, 'atomic_dec_and_test', DEC_AND_TEST);
}

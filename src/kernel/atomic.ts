/**
 * atomic_t: counters that are changed in one step.
 *
 * Modelled: updates without a result commute with each other and order nothing; those that return
 * something count as a write of the counter even when they leave it as it was, and are fully ordered
 * unless they failed. Simplified: values are 32-bit signed and wrap; atomic64_t and atomic_long_t are
 * the same; of the `_acquire`, `_release` and `_relaxed` forms only those of plain reading and setting
 * are told apart, since execution is sequentially consistent and the others only order less.
 */
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

/** atomic_t. A field of a struct declares one: {@link atomic}. */
export class Atomic extends KernelObject {
  /** The present value. Model code reads it through {@link atomicRead}. */
  value: number;
  /** The step of the last ordered update, or -1 if the counter was set since. */
  lastRelease = -1;
  /** The step of the last update, or -1, and the value before it. */
  lastChange = -1;
  valueBefore = 0;
  /** By their kernel names; made on first use. */
  operations: Record<string, AtomicOperation<unknown>> | null = null;

  constructor(at: Placement, initial: number) {
    super(at);
    this.value = initial | 0;
  }

  /** Notes that the present step is about to change the value. */
  noteChange(): void {
    this.lastChange = running.now;
    this.valueBefore = this.value;
  }
}

/** A field of type atomic_t. */
export function atomic(initial: number): FieldSpec<Atomic> {
  return new FieldSpec(1, (at) => new Atomic(at, initial));
}

abstract class AtomicOperation<R> extends Operation<R> {
  readonly counter: Atomic;
  readonly label: string;

  constructor(counter: Atomic, label: string) {
    super(counter.memory);
    this.counter = counter;
    this.label = label;
  }

  describe(_task: Task): string {
    return `${this.label}(&${this.counter.path})`;
  }
}

class AtomicRead extends AtomicOperation<number> {
  override footprint(out: Access[]): void {
    out.push(access(this.counter.variable, READ));
  }

  perform(): number {
    return this.counter.value;
  }
}

class AtomicReadAcquire extends AtomicRead {
  override perform(): number {
    running.after(this.counter.lastRelease);
    return super.perform();
  }
}

class AtomicSet extends AtomicOperation<void> {
  override footprint(out: Access[]): void {
    out.push(access(this.counter.variable, WRITE));
  }

  perform(task: Task): void {
    this.counter.noteChange();
    this.counter.value = (task.argument as number) | 0;
    this.counter.lastRelease = -1;
  }

  override describe(task: Task): string {
    return `${this.label}(&${this.counter.path}, ${String(task.argument)})`;
  }
}

class AtomicSetRelease extends AtomicSet {
  override perform(task: Task): void {
    super.perform(task);
    this.counter.lastRelease = running.now;
  }
}

/** An update whose result nobody sees: it adds its argument. */
class AtomicVoid extends AtomicOperation<void> {
  override footprint(out: Access[]): void {
    out.push(access(this.counter.variable, COMMUTE));
  }

  perform(task: Task): void {
    this.counter.noteChange();
    this.counter.value = (this.counter.value + (task.argument as number)) | 0;
  }
}

/** What an update with a result does, given the argument that it was made with. */
interface Rule<R, A> {
  /** The value afterwards; null leaves the counter alone and orders nothing. */
  readonly change: (before: number, argument: A) => number | null;
  /** What the caller gets. `after` is `before` if the counter was left alone. */
  readonly result: (before: number, after: number) => R;
}

/** An update that returns something. Pairs with every other ordered one on the counter. */
class AtomicUpdate<R, A> extends AtomicOperation<R> {
  private readonly rule: Rule<R, A>;

  constructor(counter: Atomic, label: string, rule: Rule<R, A>) {
    super(counter, label);
    this.rule = rule;
  }

  override footprint(out: Access[]): void {
    out.push(access(this.counter.variable, WRITE));
  }

  perform(task: Task): R {
    const { counter, rule } = this;
    const before = counter.value;
    const next = rule.change(before, task.argument as A);
    if (next !== null) {
      running.after(counter.lastRelease);
      counter.noteChange();
      counter.value = next | 0;
      counter.lastRelease = running.now;
    }
    return rule.result(before, counter.value);
  }
}

function operationOf<T extends AtomicOperation<unknown>>(
  counter: Atomic,
  label: string,
  build: (counter: Atomic, label: string) => T,
): T {
  const operations = (counter.operations ??= {});
  const found = operations[label];
  if (found !== undefined) return found as T;
  const operation = build(counter, label);
  operations[label] = operation;
  return operation;
}

/** Makes the function for an update that returns something. */
function updater<R, A>(
  label: string,
  rule: Rule<R, A>,
): (counter: Atomic, argument: A) => Operation<R> {
  const build = (counter: Atomic, name: string): AtomicUpdate<R, A> =>
    new AtomicUpdate(counter, name, rule);
  return (counter, argument) => made(operationOf(counter, label, build), argument);
}

const plus = (before: number, amount: number): number => before + amount;
const valueBefore = (before: number): number => before;
const valueAfter = (_before: number, after: number): number => after;
const isZero = (_before: number, after: number): boolean => after === 0;
const wasChanged = (before: number, after: number): boolean => before !== after;

// ---- reading and setting ------------------------------------------------------------------------

/** `atomic_read(v)`. Orders nothing. */
export function atomicRead(counter: Atomic): Operation<number> {
  return made(operationOf(counter, 'atomic_read', (at, label) => new AtomicRead(at, label)));
}

/** `atomic_read_acquire(v)`. Pairs with {@link atomicSetRelease} and with ordered updates. */
export function atomicReadAcquire(counter: Atomic): Operation<number> {
  return made(
    operationOf(counter, 'atomic_read_acquire', (at, label) => new AtomicReadAcquire(at, label)),
  );
}

/** `atomic_set(v, value)`. Orders nothing. */
export function atomicSet(counter: Atomic, value: number): Operation<void> {
  return made(
    operationOf(counter, 'atomic_set', (at, label) => new AtomicSet(at, label)),
    value,
  );
}

/** `atomic_set_release(v, value)`. Pairs with {@link atomicReadAcquire}. */
export function atomicSetRelease(counter: Atomic, value: number): Operation<void> {
  return made(
    operationOf(counter, 'atomic_set_release', (at, label) => new AtomicSetRelease(at, label)),
    value,
  );
}

// ---- updates without a result -------------------------------------------------------------------

function add(counter: Atomic, label: string, amount: number): Operation<void> {
  return made(
    operationOf(counter, label, (at, name) => new AtomicVoid(at, name)),
    amount,
  );
}

/** `atomic_inc(v)`. Commutes with other updates without a result and orders nothing. */
export function atomicInc(counter: Atomic): Operation<void> {
  return add(counter, 'atomic_inc', 1);
}

/** `atomic_dec(v)`. */
export function atomicDec(counter: Atomic): Operation<void> {
  return add(counter, 'atomic_dec', -1);
}

/** `atomic_add(amount, v)`. */
export function atomicAdd(counter: Atomic, amount: number): Operation<void> {
  return add(counter, 'atomic_add', amount);
}

/** `atomic_sub(amount, v)`. */
export function atomicSub(counter: Atomic, amount: number): Operation<void> {
  return add(counter, 'atomic_sub', -amount);
}

// ---- updates that return something --------------------------------------------------------------

const fetchAdd = updater('atomic_fetch_add', { change: plus, result: valueBefore });
const addReturn = updater('atomic_add_return', { change: plus, result: valueAfter });
const incReturn = updater('atomic_inc_return', { change: plus, result: valueAfter });
const decReturn = updater('atomic_dec_return', { change: plus, result: valueAfter });
const subReturn = updater('atomic_sub_return', { change: plus, result: valueAfter });
const incAndTest = updater('atomic_inc_and_test', { change: plus, result: isZero });
const decAndTest = updater('atomic_dec_and_test', { change: plus, result: isZero });
const subAndTest = updater('atomic_sub_and_test', { change: plus, result: isZero });
const incNotZero = updater('atomic_inc_not_zero', {
  change: (before: number, amount: number) => (before === 0 ? null : before + amount),
  result: wasChanged,
});
const addUnless = updater('atomic_add_unless', {
  change: (before: number, [amount, unless]: readonly [number, number]) =>
    before === unless ? null : before + amount,
  result: wasChanged,
});
const decIfPositive = updater('atomic_dec_if_positive', {
  change: (before: number, amount: number) => (before + amount < 0 ? null : before + amount),
  // The value it would have had: negative if the counter was left alone.
  result: (before: number): number => (before - 1) | 0,
});
const xchg = updater('atomic_xchg', {
  change: (_before: number, value: number) => value,
  result: valueBefore,
});
const cmpxchg = updater('atomic_cmpxchg', {
  change: (before: number, [expected, value]: readonly [number, number]) =>
    before === expected ? value : null,
  result: valueBefore,
});

/** `atomic_fetch_add(amount, v)`; returns the value before. */
export function atomicFetchAdd(counter: Atomic, amount: number): Operation<number> {
  return fetchAdd(counter, amount);
}

/** `atomic_add_return(amount, v)`; returns the value after. */
export function atomicAddReturn(counter: Atomic, amount: number): Operation<number> {
  return addReturn(counter, amount);
}

/** `atomic_sub_return(amount, v)`; returns the value after. */
export function atomicSubReturn(counter: Atomic, amount: number): Operation<number> {
  return subReturn(counter, -amount);
}

/** `atomic_inc_return(v)`; returns the value after. */
export function atomicIncReturn(counter: Atomic): Operation<number> {
  return incReturn(counter, 1);
}

/** `atomic_dec_return(v)`; returns the value after. */
export function atomicDecReturn(counter: Atomic): Operation<number> {
  return decReturn(counter, -1);
}

/** `atomic_inc_and_test(v)`: true if it is 0 afterwards. */
export function atomicIncAndTest(counter: Atomic): Operation<boolean> {
  return incAndTest(counter, 1);
}

/** `atomic_dec_and_test(v)`: true if it is 0 afterwards. */
export function atomicDecAndTest(counter: Atomic): Operation<boolean> {
  return decAndTest(counter, -1);
}

/** `atomic_sub_and_test(amount, v)`: true if it is 0 afterwards. */
export function atomicSubAndTest(counter: Atomic, amount: number): Operation<boolean> {
  return subAndTest(counter, -amount);
}

/** `atomic_inc_not_zero(v)`: true if it was not 0 and was incremented. A write even if it fails. */
export function atomicIncNotZero(counter: Atomic): Operation<boolean> {
  return incNotZero(counter, 1);
}

/** `atomic_add_unless(v, amount, unless)`: true if it was not `unless` and `amount` was added. */
export function atomicAddUnless(
  counter: Atomic,
  amount: number,
  unless: number,
): Operation<boolean> {
  return addUnless(counter, [amount, unless]);
}

/** `atomic_dec_if_positive(v)`; returns the value before less 1, negative if nothing was done. */
export function atomicDecIfPositive(counter: Atomic): Operation<number> {
  return decIfPositive(counter, -1);
}

/** `atomic_xchg(v, value)`; returns the value before. */
export function atomicXchg(counter: Atomic, value: number): Operation<number> {
  return xchg(counter, value);
}

/**
 * `atomic_cmpxchg(v, expected, value)`; returns the value before, which is `expected` if and only if
 * `value` was stored. A write even if it fails.
 */
export function atomicCmpxchg(counter: Atomic, expected: number, value: number): Operation<number> {
  return cmpxchg(counter, [expected, value]);
}

const cmpxchgLoop = updater('atomic_cmpxchg loop', {
  change: (before, change: (value: number) => number | null) => change(before),
  result: valueBefore,
});

/**
 * A loop that reads the counter and tries to store what `change` makes of it, until nobody comes in
 * between: one step, since rounds that fail change nothing. Returns the value before.
 *
 *     do { old = atomic_read(v); } while (!atomic_try_cmpxchg(v, &old, old | FLAG));
 *
 * @param change gets the value and returns the new one, or null to leave the loop without storing; it
 *   must look at nothing else that others change. A write even if nothing is stored.
 */
export function atomicCmpxchgLoop(
  counter: Atomic,
  change: (value: number) => number | null,
): Operation<number> {
  return cmpxchgLoop(counter, change);
}

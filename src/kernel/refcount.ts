/**
 * refcount_t: a reference counter that notices when it is misused.
 *
 * Modelled: taking a reference from 0, dropping below 0 and overflow are findings and saturate the
 * counter, which then never moves again and never says that the last reference is gone; dropping
 * releases, and dropping the last one acquires what all who dropped before had done; taking orders
 * nothing. Simplified: values are 32-bit signed, as everywhere.
 *
 * Taking a reference that one has another for (`refcount_inc`) commutes with itself: nobody can tell
 * who came first. Everything else that changes the counter is a write, even if it fails.
 */
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

/** The largest count. */
export const REFCOUNT_MAX = 2 ** 31 - 1;
/** Where a misused counter stays. */
export const REFCOUNT_SATURATED = -(2 ** 30);

/** refcount_t. A field of a struct declares one: {@link refcount}. */
export class Refcount extends KernelObject {
  /** The present count. Model code reads it through {@link refcountRead}. */
  value: number;
  /** The steps at which references were dropped since it was set. */
  readonly dropSteps: number[] = [];
  /** True once it was incremented from 0. */
  isResurrected = false;
  /** By their kernel names; made on first use. */
  readonly operations: Record<string, RefcountOperation<unknown>> = {};

  constructor(at: Placement, initial: number) {
    super(at);
    this.value = initial;
  }

  get isSaturated(): boolean {
    return this.value < 0;
  }

  /** Starts counting anew. */
  set(value: number): void {
    this.value = value;
    this.isResurrected = false;
    this.dropSteps.length = 0;
  }

  /** Takes `count` references; the caller has looked whether that is all right. */
  add(count: number): void {
    if (this.isSaturated) return;
    if (this.value + count > REFCOUNT_MAX) this.saturate('overflowed, so it never drops to 0');
    else this.value += count;
  }

  /** Drops `count` references; true if those were the last. */
  drop(count: number): boolean {
    if (this.isSaturated) return false;
    if (count > this.value) {
      this.saturate('decremented below 0');
      return false;
    }
    this.value -= count;
    if (running.now >= 0) this.dropSteps.push(running.now);
    return this.value === 0;
  }

  /** Orders the present step after every drop. */
  acquireDrops(): void {
    for (const step of this.dropSteps) running.after(step);
  }

  /** Takes a reference where there is none. */
  resurrect(): void {
    this.isResurrected = true;
    this.saturate('incremented from 0');
  }

  saturate(what: string): void {
    this.value = REFCOUNT_SATURATED;
    running.counterMisuse(this, what);
  }
}

/** A field of type refcount_t. */
export function refcount(initial: number): FieldSpec<Refcount> {
  return new FieldSpec(1, (at) => new Refcount(at, initial));
}

abstract class RefcountOperation<R> extends Operation<R> {
  readonly counter: Refcount;
  readonly label: string;

  constructor(counter: Refcount, label: string) {
    super(counter.memory);
    this.counter = counter;
    this.label = label;
  }

  footprint(out: Access[]): void {
    out.push(access(this.counter.variable, WRITE));
  }

  describe(_task: Task): string {
    return `${this.label}(&${this.counter.path})`;
  }
}

class RefcountRead extends RefcountOperation<number> {
  override footprint(out: Access[]): void {
    out.push(access(this.counter.variable, READ));
  }

  perform(): number {
    return this.counter.value;
  }
}

class RefcountSet extends RefcountOperation<void> {
  perform(task: Task): void {
    this.counter.set(task.argument as number);
  }

  override describe(task: Task): string {
    return `${this.label}(&${this.counter.path}, ${String(task.argument)})`;
  }
}

class RefcountAdd extends RefcountOperation<void> {
  override footprint(out: Access[]): void {
    out.push(access(this.counter.variable, COMMUTE));
  }

  perform(task: Task): void {
    const { counter } = this;
    // Two increments of 0 commute: whoever comes second has done the same as the first.
    if (counter.value !== 0 && !counter.isResurrected) counter.add(task.argument as number);
    else counter.resurrect();
  }
}

class RefcountIncNotZero extends RefcountOperation<boolean> {
  perform(task: Task): boolean {
    const { counter } = this;
    if (counter.value === 0) return false;
    counter.add(task.argument as number);
    return true;
  }
}

class RefcountDropAndTest extends RefcountOperation<boolean> {
  perform(task: Task): boolean {
    const isLast = this.counter.drop(task.argument as number);
    if (isLast) this.counter.acquireDrops();
    return isLast;
  }
}

class RefcountDec extends RefcountOperation<void> {
  perform(): void {
    const { counter } = this;
    if (counter.drop(1)) counter.saturate('decremented to 0 by who does not look');
  }
}

class RefcountDecNotOne extends RefcountOperation<boolean> {
  perform(): boolean {
    const { counter } = this;
    if (counter.value === 1) return false;
    counter.drop(1);
    return true;
  }
}

class RefcountDecIfOne extends RefcountOperation<boolean> {
  perform(): boolean {
    const { counter } = this;
    if (counter.value !== 1) return false;
    counter.drop(1);
    counter.acquireDrops();
    return true;
  }
}

function operationOf<T extends RefcountOperation<unknown>>(
  counter: Refcount,
  label: string,
  build: new (counter: Refcount, label: string) => T,
): T {
  const found = counter.operations[label];
  if (found !== undefined) return found as T;
  const operation = new build(counter, label);
  counter.operations[label] = operation;
  return operation;
}

/** `refcount_read(r)`. */
export function refcountRead(counter: Refcount, label = 'refcount_read'): Operation<number> {
  return made(operationOf(counter, label, RefcountRead));
}

/** `refcount_set(r, count)`: for objects nobody else has yet. */
export function refcountSet(counter: Refcount, count: number): Operation<void> {
  return made(operationOf(counter, 'refcount_set', RefcountSet), count);
}

/** `refcount_inc(r)`, by who has a reference. From 0 it is a finding. */
export function refcountInc(counter: Refcount, label = 'refcount_inc'): Operation<void> {
  return made(operationOf(counter, label, RefcountAdd), 1);
}

/** `refcount_add(count, r)`; see {@link refcountInc}. */
export function refcountAdd(counter: Refcount, count: number): Operation<void> {
  return made(operationOf(counter, 'refcount_add', RefcountAdd), count);
}

/** `refcount_inc_not_zero(r)`: true if it was not 0 and a reference was taken. */
export function refcountIncNotZero(
  counter: Refcount,
  label = 'refcount_inc_not_zero',
): Operation<boolean> {
  return made(operationOf(counter, label, RefcountIncNotZero), 1);
}

/** `refcount_dec_and_test(r)`: true if that was the last reference. Below 0 it is a finding. */
export function refcountDecAndTest(
  counter: Refcount,
  label = 'refcount_dec_and_test',
): Operation<boolean> {
  return made(operationOf(counter, label, RefcountDropAndTest), 1);
}

/** `refcount_sub_and_test(count, r)`; see {@link refcountDecAndTest}. */
export function refcountSubAndTest(counter: Refcount, count: number): Operation<boolean> {
  return made(operationOf(counter, 'refcount_sub_and_test', RefcountDropAndTest), count);
}

/** `refcount_dec(r)`, by who knows that it is not the last reference; otherwise it is a finding. */
export function refcountDec(counter: Refcount): Operation<void> {
  return made(operationOf(counter, 'refcount_dec', RefcountDec));
}

/** `refcount_dec_not_one(r)`: false, and nothing done, if it is the last reference. */
export function refcountDecNotOne(counter: Refcount): Operation<boolean> {
  return made(operationOf(counter, 'refcount_dec_not_one', RefcountDecNotOne));
}

/** `refcount_dec_if_one(r)`: true if it was the last reference and was dropped. */
export function refcountDecIfOne(counter: Refcount): Operation<boolean> {
  return made(operationOf(counter, 'refcount_dec_if_one', RefcountDecIfOne));
}

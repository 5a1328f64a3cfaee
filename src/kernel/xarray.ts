/**
 * struct xarray: pointers by index.
 *
 * Modelled: store, load, erase, compare-and-exchange, insertion, allocation of the lowest free index,
 * and walking in the order of indexes; that storing where nothing is may fail for want of memory; that
 * what is stored is published, and loading it acquires.
 * Simplified: each function is one operation. xa_lock is inside it and cannot be taken by hand, so
 * the `__xa_` forms and several changes under one hold do not exist; nor does its order, of one
 * change before another at a different index, count as synchronisation.
 * Not modelled: marks, multi-index entries, value entries, xas_*.
 *
 * Variables: the first is the array as a whole, which changes commute on and walks read; allocating
 * writes it, since it depends on what is free. The others belong to indexes, several to each of them.
 */
import { EBUSY, ENOMEM } from '../base/errno.ts';
import { fn } from './call.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from './err-ptr.ts';
import { showValue } from './field.ts';
import { GFP_DIRECT_RECLAIM, GFP_NOFAIL, type Gfp } from './gfp.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

/** Indexes that differ by a multiple of this share a variable: a needless conflict, no more. */
const SLOT_VARIABLES = 16;

/** What is stored at an index, and the step that stored it. */
interface Slot<T> {
  readonly index: number;
  entry: T;
  release: number;
}

/** struct xarray. A field of a struct declares one: {@link xarray}. */
export class XArray<T> extends KernelObject {
  /** In the order of indexes; raw, for detectors and tests. */
  readonly slots: Slot<T>[] = [];
  /** The last change of each index, erasing included: the next one comes after it. */
  private changeSteps: Map<number, number> | null = null;
  private operations: Record<string, Operation<unknown>> | null = null;

  /** The operation `label` on this array, made on first use. */
  operation<R>(label: string, build: () => Operation<R>): Operation<R> {
    this.operations ??= {};
    const found = this.operations[label] ?? build();
    this.operations[label] = found;
    return found as Operation<R>;
  }

  variableOf(index: number): number {
    return this.variable + 1 + (index % SLOT_VARIABLES);
  }

  /** The position of the first slot whose index is `index` or more. */
  positionOf(index: number): number {
    let low = 0;
    let high = this.slots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.slots[middle] as Slot<T>).index < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  slotAt(index: number): Slot<T> | null {
    const slot = this.slots[this.positionOf(index)];
    return slot?.index === index ? slot : null;
  }

  /** Stores `entry`, or takes away what is there for NULL, as part of the present step. */
  put(index: number, entry: T | null): void {
    this.changeSteps ??= new Map();
    this.changeSteps.set(index, running.now);
    const at = this.positionOf(index);
    const slot = this.slots[at];
    const isThere = slot?.index === index;
    if (entry === null) {
      if (isThere) this.slots.splice(at, 1);
    } else if (isThere) {
      slot.entry = entry;
      slot.release = running.now;
    } else {
      this.slots.splice(at, 0, { index, entry, release: running.now });
    }
  }

  /** The step that changed `index` last, or -1. */
  lastChange(index: number): number {
    return this.changeSteps?.get(index) ?? -1;
  }

  /** The lowest index from `min` to `max` with nothing in it, or -1. */
  lowestFree(min: number, max: number): number {
    let free = min;
    for (let at = this.positionOf(min); this.slots[at]?.index === free; at += 1) free += 1;
    return free > max ? -1 : free;
  }
}

/** A field of type struct xarray, empty. */
export function xarray<T>(): FieldSpec<XArray<T>> {
  return new FieldSpec(1 + SLOT_VARIABLES, (at: Placement) => new XArray<T>(at));
}

/** What a change is asked for. Returning KEEP leaves the index as it is. */
interface Change {
  readonly index: number;
  readonly update: (before: unknown) => unknown;
  readonly text: string;
}

const KEEP: unique symbol = Symbol('keep');

abstract class XArrayOperation<R> extends Operation<R> {
  readonly array: XArray<unknown>;
  readonly label: string;

  constructor(array: XArray<unknown>, label: string) {
    super(array.memory);
    this.array = array;
    this.label = label;
  }

  protected show(what: string): string {
    return `${this.label}(&${this.array.path}${what})`;
  }
}

class Load extends XArrayOperation<unknown> {
  footprint(out: Access[], task: Task): void {
    out.push(access(this.array.variableOf(task.argument as number), READ));
  }

  perform(task: Task): unknown {
    const slot = this.array.slotAt(task.argument as number);
    if (slot === null) return null;
    running.after(slot.release);
    return slot.entry;
  }

  describe(task: Task): string {
    return this.show(`, ${task.argument as number}`);
  }
}

/** An operation that may allocate, and then may sleep or fail. */
abstract class Allocating<R> extends XArrayOperation<R> {
  override readonly maySleep: boolean;
  private readonly mayFail: boolean;

  constructor(array: XArray<unknown>, label: string, gfp: Gfp | null) {
    super(array, label);
    this.maySleep = gfp !== null && (gfp & GFP_DIRECT_RECLAIM) !== 0;
    this.mayFail = gfp !== null && (gfp & GFP_NOFAIL) === 0;
  }

  /** Whether the step puts something where nothing is. */
  protected abstract grows(task: Task): boolean;

  /** Outcome 1: no memory. */
  override arity(task: Task): number {
    return this.mayFail && running.left.allocations > 0 && this.grows(task) ? 2 : 1;
  }

  protected fail(): number {
    running.left.allocations -= 1;
    return -ENOMEM;
  }
}

/** store, erase, cmpxchg and insert: they return what was there, or ERR_PTR(-ENOMEM). */
class Update extends Allocating<unknown> {
  footprint(out: Access[], task: Task): void {
    const { index } = task.argument as Change;
    out.push(access(this.array.variable, COMMUTE), access(this.array.variableOf(index), WRITE));
  }

  protected grows(task: Task): boolean {
    const { index, update } = task.argument as Change;
    if (this.array.slotAt(index) !== null) return false;
    const next = update(null);
    return next !== KEEP && next !== null;
  }

  perform(task: Task, outcome: number): unknown {
    if (outcome === 1) return errPtr(this.fail());
    const { index, update } = task.argument as Change;
    const before = this.array.slotAt(index)?.entry ?? null;
    running.after(this.array.lastChange(index));
    const next = update(before);
    if (next !== KEEP) this.array.put(index, next);
    return before;
  }

  describe(task: Task): string {
    const { index, text } = task.argument as Change;
    return this.show(`, ${index}${text}`);
  }
}

interface AllocRequest {
  readonly entry: unknown;
  readonly min: number;
  readonly max: number;
}

class Alloc extends Allocating<number> {
  override readonly footprintVaries = true;
  footprint(out: Access[], task: Task): void {
    const { min, max } = task.argument as AllocRequest;
    const index = this.array.lowestFree(min, max);
    out.push(access(this.array.variable, WRITE));
    if (index >= 0) out.push(access(this.array.variableOf(index), WRITE));
  }

  protected grows(task: Task): boolean {
    const { min, max } = task.argument as AllocRequest;
    return this.array.lowestFree(min, max) >= 0;
  }

  perform(task: Task, outcome: number): number {
    if (outcome === 1) return this.fail();
    const { entry, min, max } = task.argument as AllocRequest;
    const index = this.array.lowestFree(min, max);
    if (index < 0) return -EBUSY;
    running.after(this.array.lastChange(index));
    this.array.put(index, entry);
    return index;
  }

  describe(task: Task): string {
    const { entry, min, max } = task.argument as AllocRequest;
    return this.show(`, ${showValue(entry)}, ${min} to ${max}`);
  }
}

/** What a walk has come to. */
export interface XaEntry<T> {
  readonly index: number;
  readonly entry: T;
}

class Find extends XArrayOperation<XaEntry<unknown> | null> {
  footprint(out: Access[]): void {
    out.push(access(this.array.variable, READ));
  }

  perform(task: Task): XaEntry<unknown> | null {
    const { array } = this;
    const slot = array.slots[array.positionOf(task.argument as number)];
    if (slot === undefined) return null;
    running.after(slot.release);
    return { index: slot.index, entry: slot.entry };
  }

  describe(task: Task): string {
    return this.show(`, from ${task.argument as number}`);
  }
}

class Empty extends XArrayOperation<boolean> {
  footprint(out: Access[]): void {
    out.push(access(this.array.variable, READ));
  }

  perform(): boolean {
    return this.array.slots.length === 0;
  }

  describe(): string {
    return this.show('');
  }
}

function change<T>(xa: XArray<T>, label: string, gfp: Gfp | null, what: Change) {
  const operation = xa.operation(`${label} ${gfp}`, () => new Update(xa as never, label, gfp));
  return made(operation, what) as Operation<T | ErrPtr | null>;
}

/** `xa_load(xa, index)`: what is stored there, or NULL. Needs no lock. */
export function xaLoad<T>(xa: XArray<T>, index: number): Operation<T | null> {
  return made(
    xa.operation('xa_load', () => new Load(xa as never, 'xa_load')),
    index,
  ) as Operation<T | null>;
}

/**
 * `xa_store(xa, index, entry, gfp)`: what was there, or ERR_PTR(-ENOMEM), see {@link xaErr}. Storing
 * NULL erases. Sleeps unless `gfp` says otherwise.
 */
export function xaStore<T>(
  xa: XArray<T>,
  index: number,
  entry: T | null,
  gfp: Gfp,
): Operation<T | ErrPtr | null> {
  const text = `, ${showValue(entry)}`;
  return change(xa, 'xa_store', gfp, { index, update: () => entry, text });
}

/** `xa_erase(xa, index)`: what was there, or NULL. Never sleeps or fails. */
export function xaErase<T>(xa: XArray<T>, index: number): Operation<T | null> {
  const operation = change(xa, 'xa_erase', null, { index, update: () => null, text: '' });
  return operation as Operation<T | null>;
}

/** What {@link xaCmpxchg} exchanges. */
export interface Exchange<T> {
  readonly old: T | null;
  readonly entry: T | null;
}

/**
 * `xa_cmpxchg(xa, index, old, entry, gfp)`: stores `entry` if `old` is there. Returns what was there,
 * or ERR_PTR(-ENOMEM). Counts as a change even when it makes none. Sleeps unless `gfp` says otherwise.
 */
export function xaCmpxchg<T>(
  xa: XArray<T>,
  index: number,
  { old, entry }: Exchange<T>,
  gfp: Gfp,
): Operation<T | ErrPtr | null> {
  const update = (before: unknown): unknown => (before === old ? entry : KEEP);
  const text = `, ${showValue(old)}, ${showValue(entry)}`;
  return change(xa, 'xa_cmpxchg', gfp, { index, update, text });
}

/** `xa_insert(xa, index, entry, gfp)`: 0, -EBUSY if something is there, or -ENOMEM. */
export const xaInsert = fn(function* xaInsert(
  xa: XArray<never>,
  index: number,
  entry: unknown,
  gfp: Gfp,
) {
  const before = yield* xaCmpxchg(xa as XArray<unknown>, index, { old: null, entry }, gfp);
  if (isErr(before)) return ptrErr(before);
  return before === null ? 0 : -EBUSY;
});

/**
 * `xa_alloc(xa, &id, entry, XA_LIMIT(min, max), gfp)`: stores `entry` at the lowest free index and
 * returns that, or -EBUSY if none is free, or -ENOMEM. Sleeps unless `gfp` says otherwise.
 */
export function xaAlloc<T>(
  xa: XArray<T>,
  entry: T,
  limit: { readonly min: number; readonly max: number },
  gfp: Gfp,
): Operation<number> {
  const operation = xa.operation(`xa_alloc ${gfp}`, () => new Alloc(xa as never, 'xa_alloc', gfp));
  return made(operation, { entry, ...limit });
}

/**
 * `xa_find(xa, &index, ULONG_MAX, XA_PRESENT)`: the first entry at `from` or above, or NULL. The loop
 * of xa_for_each, in which others may change the array meanwhile:
 * `for (let at = yield* xaFind(xa, 0); at !== null; at = yield* xaFind(xa, at.index + 1))`.
 */
export function xaFind<T>(xa: XArray<T>, from: number): Operation<XaEntry<T> | null> {
  return made(
    xa.operation('xa_find', () => new Find(xa as never, 'xa_find')),
    from,
  ) as Operation<XaEntry<T> | null>;
}

/** `xa_empty(xa)`: whether nothing is stored. Needs no lock. */
export function xaEmpty<T>(xa: XArray<T>): Operation<boolean> {
  return made(xa.operation('xa_empty', () => new Empty(xa as never, 'xa_empty')));
}

/** `xa_err(result)`: the negative error number of a failed change, or 0. */
export function xaErr(result: unknown): number {
  return isErr(result) ? ptrErr(result) : 0;
}

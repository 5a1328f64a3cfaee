/**
 * Marked accesses of plain fields: READ_ONCE, WRITE_ONCE, acquire and release, xchg, cmpxchg,
 * RCU publication, and accesses that race on purpose.
 *
 * Modelled: each is one step that other tasks can see; a release (`smp_store_release`,
 * `rcu_assign_pointer`, a value-returning read-modify-write) orders what came before it before what
 * follows an acquire that reads it.
 * Simplified: execution is sequentially consistent, so reordering of marked accesses is not explored;
 * `rcu_dereference` acquires, standing for the dependency that orders its uses.
 */
import { errnoName } from '../base/errno.ts';
import { kernelName } from './call.ts';
import { isErr, ptrErr } from './err-ptr.ts';
import { access, made, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import { slotOf, type StructObject } from './struct.ts';
import type { Task } from './task.ts';

/** The names of a struct's plain fields whose values have type V. */
type KeyOf<S> = keyof S & string;

interface FieldOperations {
  [name: string]: FieldOperation<unknown>;
}

/** One place, and what has been published through it. */
class Place {
  readonly object: StructObject & Record<string, unknown>;
  readonly key: string;
  readonly slot: string;
  readonly variable: number;
  readonly operations: FieldOperations = {};
  /** Another place of the object; few have many. */
  readonly next: Place | null;
  /** The step of the last releasing write, or -1 when a plain or relaxed write came after. */
  lastRelease = -1;
  /** The step of the last marked write, or -1, and the value before it. */
  lastChange = -1;
  valueBefore: unknown = undefined;

  constructor(object: StructObject & Record<string, unknown>, key: string, next: Place | null) {
    this.next = next;
    const offset = object.structType.offsets[key];
    if (offset === undefined) running.misuse(`${object.path} has no field '${key}'`);
    this.object = object;
    this.key = key;
    this.slot = slotOf(key);
    this.variable = object.variable + (offset as number);
    if (!(this.slot in object)) {
      running.misuse(`${object.path}.${key} is an embedded object, not a plain field`);
    }
  }

  /** Notes that the present step is about to change the value. */
  noteChange(): void {
    this.lastChange = running.now;
    this.valueBefore = this.value;
  }

  get value(): unknown {
    return this.object[this.slot];
  }

  set value(value: unknown) {
    this.object[this.slot] = value;
  }

  get path(): string {
    const name = kernelName(this.key);
    return this.object.path === '' ? name : `${this.object.path}.${name}`;
  }
}

abstract class FieldOperation<R> extends Operation<R> {
  readonly place: Place;
  readonly label: string;

  constructor(place: Place, label: string) {
    super(place.object.memory);
    this.place = place;
    this.label = label;
  }

  protected note(mode: typeof READ | typeof WRITE): void {
    running.markedAccess(this.place.object, this.place.key, this.place.variable, mode);
  }

  describe(_task: Task): string {
    return `${this.label}(${this.place.path})`;
  }
}

class Read extends FieldOperation<unknown> {
  readonly acquires: boolean;

  constructor(place: Place, label: string, acquires: boolean) {
    super(place, label);
    this.acquires = acquires;
  }

  footprint(out: Access[]): void {
    out.push(access(this.place.variable, READ));
  }

  perform(): unknown {
    this.note(READ);
    if (this.acquires) running.after(this.place.lastRelease);
    return this.place.value;
  }
}

class Write extends FieldOperation<void> {
  readonly releases: boolean;

  constructor(place: Place, label: string, releases: boolean) {
    super(place, label);
    this.releases = releases;
  }

  footprint(out: Access[]): void {
    out.push(access(this.place.variable, WRITE));
  }

  perform(task: Task): void {
    this.note(WRITE);
    this.place.noteChange();
    this.place.value = task.argument;
    this.place.lastRelease = this.releases ? running.now : -1;
  }

  override describe(task: Task): string {
    return `${this.label}(${this.place.path}, ${showValue(task.argument)})`;
  }
}

/** A value-returning read-modify-write: full order, as the kernel's atomics promise. */
class Exchange extends FieldOperation<unknown> {
  footprint(out: Access[]): void {
    out.push(access(this.place.variable, WRITE));
  }

  perform(task: Task): unknown {
    this.note(WRITE);
    const { place } = this;
    const before = place.value;
    const update = task.argument as (value: unknown) => unknown;
    const next = update(before);
    running.after(place.lastRelease);
    if (next !== KEEP) {
      place.noteChange();
      place.value = next;
      place.lastRelease = running.now;
    }
    return before;
  }
}

const KEEP = Symbol('keep');

/** The first place of a struct. Under a symbol: what goes through the fields of objects does not see it. */
const places = Symbol('places');

function placeOf(object: object, key: string): Place {
  const struct = object as StructObject & Record<string, unknown> & { [places]?: Place };
  const first = struct[places] ?? null;
  for (let place = first; place !== null; place = place.next) if (place.key === key) return place;
  const fresh = new Place(struct, key, first);
  struct[places] = fresh;
  return fresh;
}

/** The step of the last marked write of a field, or -1, and the value before it. */
export function lastChangeOf(
  object: StructObject,
  key: string,
): { readonly lastChange: number; readonly valueBefore: unknown } {
  return placeOf(object, key);
}

function operationOf<T>(
  object: object,
  key: string,
  label: string,
  build: (place: Place, label: string) => T,
): T {
  const place = placeOf(object, key);
  const found = place.operations[label];
  if (found !== undefined) return found as T;
  const operation = build(place, label);
  place.operations[label] = operation as FieldOperation<unknown>;
  return operation;
}

function read(object: object, key: string, label: string, acquires: boolean): Operation<unknown> {
  return made(operationOf(object, key, label, (place, name) => new Read(place, name, acquires)));
}

function write(
  object: object,
  key: string,
  label: string,
  value: { readonly releases: boolean; readonly value: unknown },
  known: string = label,
): Operation<void> {
  const operation = operationOf(
    object,
    key,
    known,
    (place) => new Write(place, label, value.releases),
  );
  return made(operation, value.value);
}

/** `READ_ONCE(object->key)`. */
export function readOnce<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
): Operation<S[K]> {
  return read(object, key, 'READ_ONCE', false) as Operation<S[K]>;
}

/** `WRITE_ONCE(object->key, value)`. */
export function writeOnce<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
  value: S[K],
): Operation<void> {
  return write(object, key, 'WRITE_ONCE', { releases: false, value });
}

/** `smp_load_acquire(&object->key)`. Pairs with {@link smpStoreRelease}. */
export function smpLoadAcquire<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
): Operation<S[K]> {
  return read(object, key, 'smp_load_acquire', true) as Operation<S[K]>;
}

/** `smp_store_release(&object->key, value)`. Pairs with {@link smpLoadAcquire}. */
export function smpStoreRelease<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
  value: S[K],
): Operation<void> {
  return write(object, key, 'smp_store_release', { releases: true, value });
}

/** `rcu_dereference(object->key)`. Pairs with {@link rcuAssignPointer}. */
export function rcuDereference<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
): Operation<S[K]> {
  return read(object, key, 'rcu_dereference', true) as Operation<S[K]>;
}

/** `rcu_assign_pointer(object->key, value)`: publishes what `value` points to. */
export function rcuAssignPointer<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
  value: S[K],
): Operation<void> {
  return write(object, key, 'rcu_assign_pointer', { releases: true, value });
}

/**
 * A plain read that races on purpose, as `data_race()` marks it: visible to other tasks, no finding.
 * Put the reason and the source beside it.
 */
export function dataRace<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
): Operation<S[K]> {
  return read(object, key, 'data_race', false) as Operation<S[K]>;
}

/**
 * The value of a field that is read as a hint, without a lock: a {@link dataRace} that is no step of its own, but part
 * of the one before it.
 */
export function glimpse<S extends StructObject, K extends KeyOf<S>>(object: S, key: K): S[K] {
  const place = placeOf(object, key);
  running.hintRead(object, key, place.variable);
  return place.value as S[K];
}

/** A plain write that races on purpose; see {@link dataRace}. */
export function dataRaceWrite<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
  value: S[K],
): Operation<void> {
  // The read has the same label.
  return write(object, key, 'data_race', { releases: false, value }, 'data_race write');
}

function exchange(
  object: object,
  key: string,
  label: string,
  update: (value: unknown) => unknown,
): Operation<unknown> {
  return made(
    operationOf(object, key, label, (place, name) => new Exchange(place, name)),
    update,
  );
}

/** `xchg(&object->key, value)`; returns the value before. Fully ordered. */
export function xchg<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
  value: S[K],
): Operation<S[K]> {
  return exchange(object, key, 'xchg', () => value) as Operation<S[K]>;
}

/**
 * `cmpxchg(&object->key, expected, value)`; returns the value before, which is `expected` if and
 * only if `value` was stored. Counts as a write of the place even when it fails.
 */
export function cmpxchg<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
  expected: S[K],
  value: S[K],
): Operation<S[K]> {
  return exchange(object, key, 'cmpxchg', (before) =>
    before === expected ? value : KEEP,
  ) as Operation<S[K]>;
}

/**
 * A loop that reads a field and tries to store what `change` makes of it by cmpxchg, until nobody comes
 * in between: one step, since rounds that fail change nothing. Returns the value before.
 *
 * @param change gets the value and returns the new one, or undefined to leave the loop without storing;
 *   it must look at nothing else that others change. A write even if nothing is stored.
 */
export function cmpxchgLoop<S extends StructObject, K extends KeyOf<S>>(
  object: S,
  key: K,
  change: (value: S[K]) => S[K] | undefined,
): Operation<S[K]> {
  return exchange(object, key, 'cmpxchg loop', (before) => {
    const next = change(before as S[K]);
    return next === undefined ? KEEP : next;
  }) as Operation<S[K]>;
}

/** A value as a picture shows it. */
export function showValue(value: unknown): string {
  if (value === null) return 'NULL';
  if (isErr(value)) return `ERR_PTR(${errnoName(ptrErr(value))})`;
  if (typeof value !== 'object') return String(value as number | string | boolean | undefined);
  return 'address' in value && 'path' in value ? `&${String(value.path)}` : value.constructor.name;
}

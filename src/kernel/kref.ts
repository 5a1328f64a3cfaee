/**
 * struct kref: a reference counter with a function that is called when the last reference is gone.
 *
 * Modelled: everything, on top of refcount_t; what misuse is, and what orders what, is said there.
 * A kref that was never initialised counts 0, so that using it is found.
 */
import { fn, type KernelCallable } from './call.ts';
import { FieldSpec } from './memory.ts';
import { mutexLock, mutexUnlock, type Mutex } from './mutex.ts';
import type { Operation } from './operation.ts';
import {
  Refcount,
  refcountDecAndTest,
  refcountDecNotOne,
  refcountInc,
  refcountIncNotZero,
  refcountRead,
} from './refcount.ts';
import { running } from './running.ts';
import { spinLock, spinUnlock, type Spinlock } from './spinlock.ts';

/** struct kref. A field of a struct declares one: {@link kref}. */
export class Kref extends Refcount {}

/** A field of type struct kref. */
export function kref(): FieldSpec<Kref> {
  return new FieldSpec(1, (at) => new Kref(at, 0));
}

/** What is called when the last reference is gone, with the kref; see `containerOf`. */
export type KrefRelease = KernelCallable<[ref: Kref], unknown>;

/**
 * `kref_init(ref)`: one reference, the caller's. Part of the present step, for the object must not be
 * known to anybody else yet.
 */
export function krefInit(ref: Kref): void {
  running.touch(ref.memory, `kref_init(&${ref.path})`);
  ref.set(1);
}

/** `kref_read(ref)`. */
export function krefRead(ref: Kref): Operation<number> {
  return refcountRead(ref, 'kref_read');
}

/** `kref_get(ref)`, by who has a reference. From 0 it is a finding. */
export function krefGet(ref: Kref): Operation<void> {
  return refcountInc(ref, 'kref_get');
}

/**
 * `kref_get_unless_zero(ref)`: true if a reference was taken. For who has found the object where it
 * may still be though its last reference is gone; something else must keep its memory alive.
 */
export function krefGetUnlessZero(ref: Kref): Operation<boolean> {
  return refcountIncNotZero(ref, 'kref_get_unless_zero');
}

/** `kref_put(ref, release)`: drops a reference; true if it was the last and `release` has run. */
export const krefPut = fn(function* krefPut(ref: Kref, release: KrefRelease) {
  if (!(yield* refcountDecAndTest(ref))) return false;
  yield* release(ref);
  return true;
});

/**
 * `kref_put_mutex(ref, release, lock)`: as {@link krefPut}, but the last reference is dropped with
 * `lock` held, and `release` is called with it held and must unlock it. May sleep.
 */
export const krefPutMutex = fn(function* krefPutMutex(
  ref: Kref,
  release: KrefRelease,
  lock: Mutex,
) {
  if (yield* refcountDecNotOne(ref)) return false;
  yield* mutexLock(lock);
  if (yield* refcountDecAndTest(ref)) {
    yield* release(ref);
    return true;
  }
  yield* mutexUnlock(lock);
  return false;
});

/** `kref_put_lock(ref, release, lock)`: as {@link krefPutMutex}, with a spinlock; does not sleep. */
export const krefPutLock = fn(function* krefPutLock(
  ref: Kref,
  release: KrefRelease,
  lock: Spinlock,
) {
  if (yield* refcountDecNotOne(ref)) return false;
  yield* spinLock(lock);
  if (yield* refcountDecAndTest(ref)) {
    yield* release(ref);
    return true;
  }
  yield* spinUnlock(lock);
  return false;
});

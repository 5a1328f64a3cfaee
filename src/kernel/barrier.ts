/**
 * Memory barriers.
 *
 * Not modelled: execution is sequentially consistent, so that no two accesses of a task are ever seen
 * the other way round and a barrier has nothing to do. A missing one is therefore not found. They are
 * here so that code reads as it does in the kernel and says what it relies on; they take no step,
 * touch nothing, and order nothing for the search for data races either: what a barrier publishes
 * must be written and read by marked accesses.
 */

/** `smp_mb()`. */
export function smpMb(): void {
  // See the head of this file.
}

/** `smp_rmb()`. Pairs with {@link smpWmb}. */
export function smpRmb(): void {
  // See the head of this file.
}

/** `smp_wmb()`. Pairs with {@link smpRmb}. */
export function smpWmb(): void {
  // See the head of this file.
}

/** `smp_mb__before_atomic()`. */
export function smpMbBeforeAtomic(): void {
  // See the head of this file.
}

/** `smp_mb__after_atomic()`. */
export function smpMbAfterAtomic(): void {
  // See the head of this file.
}

/** `smp_mb__after_spinlock()`. */
export function smpMbAfterSpinlock(): void {
  // See the head of this file.
}

/** `barrier()`: for the compiler alone. */
export function barrier(): void {
  // See the head of this file.
}

/**
 * Mixing of 32-bit numbers into hashes: the finalizer of MurmurHash3, which changes every bit of its
 * result with probability about one half when one bit of its argument changes. Not for anything that
 * somebody might want to forge.
 */

/** Spreads the bits of `value` over 32 bits. */
export function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Adds `value` to the hash `before`; the order in which values are added matters. */
export function mixIn(before: number, value: number): number {
  // The constant keeps 0 added to 0 from being 0 again.
  return mix(Math.imul(before, 0x9e3779b1) + value + 0x7f4a7c15);
}

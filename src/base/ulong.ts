/**
 * `unsigned long`, which in the model is 48 bits wide.
 *
 * Plain numbers would silently be right where the kernel wraps, so arithmetic that can wrap goes
 * through these functions. Every 48-bit value is an exact JavaScript integer; so is every sum of
 * two of them.
 */
export const ULONG_BITS = 48;
/** The greatest word of the model: 48 bits. */
export const ULONG_MAX = 2 ** ULONG_BITS - 1;

const MODULUS = 2 ** ULONG_BITS;

/** Reduces any integer of magnitude below 2^53 to an `unsigned long`. */
export function ulong(value: number): number {
  const rest = value % MODULUS;
  return rest < 0 ? rest + MODULUS : rest;
}

/** `a + b`, wrapping. */
export function ulongAdd(a: number, b: number): number {
  return ulong(a + b);
}

/** `a - b`, wrapping. */
export function ulongSub(a: number, b: number): number {
  return ulong(a - b);
}

/** Kernel pointer notation, as `%px` prints it: 12 hexadecimal digits. */
export function hex(value: number): string {
  return `0x${value.toString(16).padStart(12, '0')}`;
}

/**
 * Arguments of system calls: words of a 64-bit machine, as a program in TypeScript writes them.
 *
 * A word of the model has 48 bits (base/ulong.ts). Negative numbers are their two's complement; what is
 * too great for the model, in either direction, becomes a word beyond every address, far enough from the
 * end that adding an address does not wrap, with the same offset in its page.
 */
import { ULONG_MAX, ulong } from '../base/ulong.ts';
import { running } from '../kernel/running.ts';
import { PAGE_SIZE } from '../mm-types/mm-struct.ts';

const BEYOND = 0xc000_0000_0000;

/** `value` as an unsigned long; what is no integer ends the search with a message. */
export function userWord(name: string, value: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    running.misuse(`${name} of a system call must be an integer, not ${String(value)}`);
  }
  if (value >= 0 && value <= ULONG_MAX) return value;
  if (value < 0 && value >= -(2 ** 46)) return ulong(value);
  return BEYOND + (((value % PAGE_SIZE) + PAGE_SIZE) % PAGE_SIZE);
}

/** `PAGE_ALIGN(length)`, which wraps to 0 at the very end. */
export function pageAlignWord(length: number): number {
  return ulong(Math.ceil(length / PAGE_SIZE) * PAGE_SIZE);
}

/** A flag that no call knows. */
const UNKNOWN_FLAG = 0x4000_0000;

/**
 * `value` as an int of flags, with 31 bits; what has more, or is negative, has a flag that no call knows.
 * What is no integer ends the search with a message.
 */
export function userFlags(name: string, value: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    running.misuse(`${name} of a system call must be an integer, not ${String(value)}`);
  }
  if (value >= 0 && value < 2 ** 31) return value;
  return (((value % 2 ** 30) + 2 ** 30) % 2 ** 30) | UNKNOWN_FLAG;
}

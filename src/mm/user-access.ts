/**
 * Loads and stores of programs.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';

/** A load by the CPU of the task: the byte, -SIGSEGV or -SIGBUS. */
export const userLoad = fn(function* userLoad(
  _mm: MmStruct,
  _address: number,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});

/** A store: 0, -SIGSEGV or -SIGBUS. */
export const userStore = fn(function* userStore(
  _mm: MmStruct,
  _address: number,
  _byte: number,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});

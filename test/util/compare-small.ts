/** For random programs: compares those that are small enough, and leaves out the others. */
import type { Program } from '../../src/check/program.ts';
import { compare, type Comparison } from './brute-force.ts';

/**
 * As `compare`, but null for a program of more than `limit` interleavings. Nothing else is caught: a
 * message that merely mentions interleavings, as that of a failed expectation does, is passed on.
 */
export function compareSmall(program: Program, limit = 800): Comparison | null {
  try {
    return compare(program, { interleavingCountMax: limit });
  } catch (error) {
    if (error instanceof Error && error.message === `more than ${limit} interleavings`) return null;
    throw error;
  }
}

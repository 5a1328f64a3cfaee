/**
 * The explorers against plain enumeration, on random programs of locks, fields and counters. The others
 * are in fuzz-waiting.test.ts; that explorers with a rule left out are caught is in
 * fuzz-mutants.test.ts.
 */
import { expect, test } from 'vitest';
import { LOCKING } from '../util/fuzz/generate.ts';
import { fuzzBoth } from '../util/fuzz/session.ts';

test(
  'no trace of a random program is missed, and none is executed twice',
  { timeout: 900_000 },
  () => {
    const { helpless } = fuzzBoth('test/check/fuzz.test.ts', LOCKING);
    // Whichever task begins the other order can do so there.
    expect(helpless).toBe(0);
  },
);

/**
 * The explorers against plain enumeration, on random programs of locks, fields and counters. The others
 * are in fuzz-waiting.test.ts; that explorers with a rule left out are caught is in
 * fuzz-mutants.test.ts.
 */
import { test } from 'vitest';
import { LOCKING } from '../util/fuzz/generate.ts';
import { fuzzBoth } from '../util/fuzz/session.ts';

test(
  'no trace of a random program is missed, and none is executed twice',
  { timeout: 900_000 },
  () => {
    fuzzBoth('test/check/fuzz.test.ts', LOCKING);
  },
);

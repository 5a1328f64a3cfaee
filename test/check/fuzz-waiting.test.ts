/**
 * The explorers against plain enumeration, as in fuzz.test.ts, on random programs of what is waited for,
 * counted and interrupted.
 */
import { test } from 'vitest';
import { WAITING } from '../util/fuzz/generate.ts';
import { fuzzBoth } from '../util/fuzz/session.ts';

test(
  'no trace is missed or executed twice where tasks sleep, are woken and interrupted',
  { timeout: 900_000 },
  () => {
    fuzzBoth('test/check/fuzz-waiting.test.ts', WAITING);
  },
);

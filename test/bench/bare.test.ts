import { describe, expect, test } from 'vitest';
import { executeBare, executeByEngine } from '../../bench/bare.ts';
import { promelaOf } from '../../bench/peer/promela.ts';
import { runFastCheck } from '../../bench/peer/fast-check.ts';
import { MEASURED, programNamed } from '../../bench/programs.ts';

/** The same programs with numbers small enough for tests. */
const SMALL = ['lockinc-3', 'lastzero-3', 'readers-3', 'refcount-2', 'indexer-12'];

describe.each([...MEASURED, ...SMALL])('%s', (name) => {
  test('takes the same steps bare as by the engine, each time', () => {
    const scenario = programNamed(name);
    const steps = executeByEngine(scenario);
    expect(steps).toBeGreaterThan(0);
    expect(executeBare(scenario)).toBe(steps);
    expect(executeBare(scenario)).toBe(steps);
  });

  test('is there for the peers', () => {
    expect(promelaOf(name)).toContain('proctype');
  });
});

test.each(SMALL)('fast-check finds nothing wrong with %s', async (name) => {
  expect(await runFastCheck(name, 50)).toBeGreaterThan(0);
});

test('what is no program has no model', async () => {
  expect(promelaOf('nothing-3')).toBeNull();
  expect(await runFastCheck('nothing-3', 1)).toBeNull();
});

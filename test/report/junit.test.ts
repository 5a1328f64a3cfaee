import { parse } from 'junit2json';
import { expect, test } from 'vitest';
import { escapeXml, junit } from '../../src/report/junit.ts';
import { NASTY, NOTHING, sampleInput } from './sample-input.ts';

async function read(input = sampleInput()) {
  const [text = ''] = junit.write(input);
  // A strict parser: what is not well-formed is an error.
  const suites = await parse(text);
  if (suites === null || suites === undefined || !('testsuite' in suites)) throw new Error(text);
  return suites;
}

test('a reader finds a suite for each scenario and a case for each variant', async () => {
  const { testsuite = [], ...counts } = await read();
  expect(counts).toMatchObject({ name: 'mmulab', tests: 9, failures: 4, errors: 2 });
  const suites = testsuite.map(({ name = '', testcase = [], failures, errors }) => ({
    name: name.slice(0, 14),
    cases: testcase.map((one) => one.name),
    failures,
    errors,
  }));
  expect(suites).toEqual([
    { name: 'toy-unregister', cases: ['before', 'race', 'leak'], failures: 2, errors: 0 },
    { name: 'toy-locks', cases: ['before', 'before'], failures: 1, errors: 0 },
    { name: 'toy-alone', cases: ['clean'], failures: 0, errors: 0 },
    { name: 'nasty </script', cases: ['before'], failures: 1, errors: 0 },
    { name: 'input', cases: ['driver.ts:12', 'mmulab'], failures: 0, errors: 2 },
  ]);
});

test('a failure has its verdict as message, and the picture and the replay line as text', async () => {
  const { testsuite = [] } = await read();
  const [race] = testsuite[0]?.testcase?.slice(1) ?? [];
  const [failure] = race?.failure ?? [];
  expect(failure?.message).toBe('violation: data race on toy_table.size');
  expect(failure?.type).toBe('data race on toy_table.size');
  expect(failure?.inner).toContain('write toy_table.size');
  expect(failure?.inner).toMatch(/\nreplay: npx mmulab replay mn1_/);
});

test('what somebody writes into a name comes back as it was', async () => {
  const { testsuite = [] } = await read();
  expect(testsuite.find(({ name }) => name?.startsWith('nasty'))?.name).toBe(`nasty ${NASTY}`);
  expect(testsuite.at(-1)?.testcase?.[0]?.error?.[0]?.message).toContain(NASTY);
});

test('letters that XML cannot say are replaced', async () => {
  expect(escapeXml('a\u0000\u001B[1m\uD800b\n')).toBe('a\uFFFD\uFFFD[1m\uFFFDb&#10;');
  const failures = [{ code: 'MN201', message: 'a\u0007b\nc', place: null }];
  const { testsuite = [] } = await read({ ...NOTHING, failures });
  expect(testsuite[0]?.testcase?.[0]?.error?.[0]?.message).toBe('a\uFFFDb\nc');
});

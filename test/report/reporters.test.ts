import { expect, test } from 'vitest';
import { REPORTER_NAMES } from '../../src/report/reporter-name.ts';
import { REPORTERS } from '../../src/report/reporters.ts';
import { NOTHING, sampleInput } from './sample-input.ts';

test('every name has its reporter', () => {
  expect(REPORTERS.map(({ name }) => name)).toEqual([...REPORTER_NAMES]);
});

test.each(REPORTERS)('$name: equal results are equal bytes', (reporter) => {
  expect(reporter.write(sampleInput())).toEqual(reporter.write(sampleInput()));
});

test.each(REPORTERS)('$name: nothing checked is no reason to fail', (reporter) => {
  for (const text of reporter.write(NOTHING)) expect(text).toMatch(/^$|\n$/);
});

test.each(REPORTERS)('$name: a document ends in a newline', (reporter) => {
  const documents = reporter.write(sampleInput());
  expect(documents.length).toBeGreaterThan(0);
  for (const text of documents) expect(text).toMatch(/[^\n]\n$/);
});

import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { findScenario } from '../../src/catalogue/index.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import { FINDING_KINDS } from '../../src/kernel/finding.ts';
import { jsonReporter } from '../../src/report/json.ts';
import type { ReportInput } from '../../src/report/reporter.ts';
import { NOTHING, sampleInput } from './sample-input.ts';

const path = new URL('../../docs/report.schema.json', import.meta.url);
const schema = JSON.parse(readFileSync(path, 'utf8')) as {
  definitions: { kind: { enum: string[] } };
};
const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(schema);

function problems(input: ReportInput): unknown[] {
  validate(JSON.parse(jsonReporter.write(input)[0] ?? ''));
  return validate.errors ?? [];
}

test('the document is as its schema says', () => {
  expect(problems(sampleInput())).toEqual([]);
  expect(problems(NOTHING)).toEqual([]);
});

test('so are those of a sample and of rounds', () => {
  const scenario = findScenario('program/ab-ba');
  if (scenario === null) throw new Error('no program');
  const [variant = ''] = Object.keys(scenario.variants);
  const [sample] = sampleInput().variants;
  if (sample === undefined) throw new Error('no sample');
  const results = [
    checkVariant(scenario, variant, { sampling: { method: 'pct', samples: 5, seed: 1, depth: 2 } }),
    checkVariant(scenario, variant, { boundsFirst: true }),
  ];
  expect(results[1]?.rounds).toBeDefined();
  const variants = results.map((result) => Object.assign({}, sample, { result, shown: [] }));
  expect(problems({ ...NOTHING, variants })).toEqual([]);
});

test('the schema knows every kind of finding, and no other', () => {
  expect(schema.definitions.kind.enum).toEqual([...FINDING_KINDS]);
});

test('the schema is asked in earnest: what it does not know is refused', () => {
  const document = JSON.parse(jsonReporter.write(sampleInput())[0] ?? '') as { results: object[] };
  Object.assign(document.results[0] ?? {}, { surprise: 1 });
  expect(validate(document)).toBe(false);
});

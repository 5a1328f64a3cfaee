import { expect, test } from 'vitest';
import { findScenario } from '../../src/catalogue/index.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import type { VariantResult } from '../../src/check/result.ts';
import type { SamplerName } from '../../src/check/sampler/sampler.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';
import { jsonText } from '../../src/report/json.ts';
import { describeResult } from '../../src/report/text.ts';

function sample(name: string, method: SamplerName, samples: number): VariantResult {
  const sampling = { method, samples, seed: 7 };
  return checkVariant(findScenario(name) as AnyScenario, 'sc', { sampling });
}

test('a sample says how many traces it has seen and what may be missing', () => {
  const result = sample('program/lockinc-4', 'pct', 1000);
  expect(`\n${describeResult(result, [])}\n`).toMatchInlineSnapshot(`
    "
    program/lockinc-4 sc (acceptance)
    bounded: no violation in 1,000 executions, but the executions were drawn at random, as asked
    expected is clean; no sample can show it

    24 distinct traces in 1,000 executions, drawn by PCT for bugs of depth 3 with seed 7
    each of them came more than once, so those not seen should be rare
    8,000 steps taken
    Execution is sequentially consistent; barriers and reordering of marked accesses are not explored.
    "
  `);
});

test('where the number of traces is an estimate, its error stands beside it', () => {
  const shown = describeResult(sample('program/ainc-8', 'pos', 10_000), []);
  expect(shown).toMatch(/^about \d,\d\d0 ± 3% distinct traces in 10,000 executions, drawn by POS/m);
  expect(shown).toMatch(/not seen before with a probability of about\n? +\d\d%$/m);
});

test('executions that were cut are told of', () => {
  const sampling = { method: 'weighted', samples: 10, seed: 1 } as const;
  const result = checkVariant(findScenario('program/lockinc-3') as AnyScenario, 'sc', {
    sampling,
    stepCountMax: 5,
  });
  // None of them ended, and five steps were asked for.
  expect(result).toMatchObject({ executions: 10, sampling: { cut: 10, traces: 0, newNext: 1 } });
  expect(describeResult(result, [])).toContain('10 executions cut after 5 steps');
});

function text(method: SamplerName): string {
  return jsonText([{ result: sample('program/lockinc-3', method, 100), shown: [] }]);
}

test('in JSON the figures are as they are, and equal seeds give equal bytes', () => {
  expect(JSON.parse(text('pct')).results[0].sampling).toEqual({
    method: 'pct',
    samples: 100,
    seed: 7,
    depth: 3,
    traces: 6,
    tracesError: 0,
    newNext: 0,
    cut: 0,
    stepCountMax: 10_000,
  });
  expect(JSON.parse(text('pos')).results[0].sampling).not.toHaveProperty('depth');
  for (const method of ['random', 'pct', 'pos', 'weighted'] as const) {
    expect(text(method)).toBe(text(method));
  }
});

test('an execution to look at is a line to replay', () => {
  const result = sample('program/lockinc-3', 'random', 10);
  const shown = describeResult(result, [], { exampleToken: 'mn1_x' });
  expect(shown).toMatch(/\n\nan execution to look at: npx mmulab replay mn1_x$/);
  const json = JSON.parse(jsonText([{ result, shown: [], exampleToken: 'mn1_x' }]));
  expect(json.results[0].example).toBe('mn1_x');
});

test('a search that was interrupted does not say that anybody asked for it', () => {
  const result = sample('program/lockinc-3', 'random', 10);
  const bound = { kind: 'interrupted', limit: 10, isRequested: true } as const;
  expect(describeResult({ ...result, bound }, [])).toContain(
    'bounded: no violation in 10 executions, but the search was interrupted\n',
  );
});

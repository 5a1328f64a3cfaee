/** The safeguards of the core, each taken out once: a scenario must miss it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Workshop, type Copy } from './mutant.ts';
import { MUTATIONS } from './mutation-table.ts';

let workshop: Workshop;
let original: Copy;

beforeAll(async () => {
  workshop = new Workshop();
  original = await workshop.load([]);
});

afterAll(() => workshop.close());

const SUBJECTS = new Map(
  MUTATIONS.map(({ scenario, variant = 'series' }) => [
    `${scenario} (${variant})`,
    { scenario, variant },
  ]),
);

test.each([...SUBJECTS])('%s is as expected as long as nothing is missing', (_, subject) => {
  const { scenario, variant } = subject;
  const result = original.checkVariant(original.find(scenario)!, variant);
  expect(result).toMatchObject({ asExpected: true });
});

const CASES = MUTATIONS.map((mutation) => [mutation.scenario, mutation.name, mutation] as const);

test.each(CASES)('%s fails when %s', async (scenario, _, { edits, variant = 'series', finds }) => {
  const copy = await workshop.load(edits);
  const result = copy.checkVariant(copy.find(scenario)!, variant);
  expect(result.asExpected).toBe(false);
  if (finds !== null) expect(result.violations).toContainEqual(expect.objectContaining(finds));
});

test('an edit that does not apply is an error', async () => {
  const edits = [{ file: 'mmu-notifier/get-put.ts', from: 'no such text', to: '' }];
  await expect(workshop.load(edits)).rejects.toThrow('a mutation no longer applies');
});

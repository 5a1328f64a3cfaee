/**
 * docs/candidates.md says of each candidate what checking its scenario says. `UPDATE_DOCS=1` writes it anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DRIVER_SCENARIOS } from '../../src/catalogue/index.ts';
import { withFreshTables } from './scenario-table.ts';

const path = new URL('../../docs/candidates.md', import.meta.url);
const text = readFileSync(path, 'utf8');

test('what the page says of each candidate is what the checker says', () => {
  const fresh = withFreshTables(text);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, fresh);
  else expect(text).toBe(fresh);
});

test('every scenario that stands for a candidate is on the page, under its name', () => {
  for (const { name, models = [] } of DRIVER_SCENARIOS) {
    const candidates = models.filter((model) => model.startsWith('A-'));
    if (candidates.length === 0) continue;
    expect(text).toMatch(new RegExp(`<!-- scenario: ${name}[ ]`));
    for (const candidate of candidates) expect(text).toContain(`## ${candidate}: `);
  }
});

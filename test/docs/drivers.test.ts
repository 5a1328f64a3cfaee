/** The pages of docs/drivers: their pictures are what the checker finds, their tables what it says. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { withFreshPictures } from './pictures.ts';
import { closeWorkshop } from './race.ts';
import { withFreshTables } from './scenario-table.ts';

const FOLDER = new URL('../../docs/drivers/', import.meta.url);

afterAll(closeWorkshop);

test.each(readdirSync(FOLDER))('docs/drivers/%s says what the checker says', async (name) => {
  const url = new URL(name, FOLDER);
  const text = readFileSync(url, 'utf8');
  const fresh = withFreshTables(await withFreshPictures(text));
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(url, fresh);
  else expect(text).toBe(fresh);
});

/** The pages of docs/drivers and docs/defects: their pictures are what the checker finds, their tables what it says. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { withFreshPictures } from './pictures.ts';
import { closeWorkshop } from './race.ts';
import { withFreshTables } from './scenario-table.ts';

const DOCS = new URL('../../docs/', import.meta.url);
const PAGES = ['drivers/', 'defects/'].flatMap((folder) =>
  readdirSync(new URL(folder, DOCS))
    .filter((name) => name !== 'README.md')
    .map((name) => folder + name),
);

afterAll(closeWorkshop);

test.each(PAGES)('docs/%s says what the checker says', async (name) => {
  const url = new URL(name, DOCS);
  const text = readFileSync(url, 'utf8');
  const fresh = withFreshTables(await withFreshPictures(text));
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(url, fresh);
  else expect(text).toBe(fresh);
});

/** The pictures of docs/protocol are what the checker finds when a safeguard is missing. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { withFreshPictures } from './pictures.ts';
import { closeWorkshop } from './race.ts';

const FOLDER = new URL('../../docs/protocol/', import.meta.url);

afterAll(closeWorkshop);

test.each(readdirSync(FOLDER))('the races in docs/protocol/%s are those of a run', async (name) => {
  const url = new URL(name, FOLDER);
  const text = readFileSync(url, 'utf8');
  const fresh = await withFreshPictures(text);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(url, fresh);
  else expect(text).toBe(fresh);
});

/** The pictures of docs/protocol are what the checker finds when a safeguard is missing. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { closeWorkshop, drawRace } from './race.ts';

const FOLDER = new URL('../../docs/protocol/', import.meta.url);
const BLOCK =
  /(<!-- race: ([^|]+?)(?: \| from (.+?))? -->\n+```text\n)([^]*?)(```\n+<!-- end -->)/g;

afterAll(closeWorkshop);

test.each(readdirSync(FOLDER))('the races in docs/protocol/%s are those of a run', async (name) => {
  const url = new URL(name, FOLDER);
  const text = readFileSync(url, 'utf8');
  let fresh = '';
  let end = 0;
  for (const match of text.matchAll(BLOCK)) {
    const [whole, head, mutation, from, , tail] = match;
    const picture = await drawRace(mutation as string, from ?? null);
    fresh += text.slice(end, match.index) + head + picture + tail;
    end = match.index + whole.length;
  }
  fresh += text.slice(end);
  expect(text).toMatch(BLOCK);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(url, fresh);
  else expect(text).toBe(fresh);
});

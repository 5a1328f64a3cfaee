/** Pictures in pages: `<!-- race: WHAT -->`, or `<!-- race: WHAT | from TEXT -->`; see race.ts. */
import { expect } from 'vitest';
import { drawRace } from './race.ts';

const BLOCK =
  /(<!-- race: ([^|]+?)(?: \| from (.+?))? -->\n+```text\n)([^]*?)(```\n+<!-- end -->)/g;

/** The page with its pictures drawn anew; not every page has one. */
export async function withFreshPictures(text: string): Promise<string> {
  if (text.includes('<!-- race:')) expect(text).toMatch(BLOCK);
  let fresh = '';
  let end = 0;
  for (const match of text.matchAll(BLOCK)) {
    const [whole, head, what, from, , tail] = match;
    const picture = await drawRace(what as string, from ?? null);
    fresh += text.slice(end, match.index) + head + picture + tail;
    end = match.index + whole.length;
  }
  return fresh + text.slice(end);
}

/** Links between the documents lead somewhere. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = new URL('../../', import.meta.url);
const DOCUMENTS = [
  'README.md',
  ...readdirSync(new URL('docs/', ROOT), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** What GitHub makes of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\- _]/gu, '')
    .replaceAll(' ', '-');
}

function problemWith(link: string, from: URL): string | null {
  const url = new URL(link, from);
  const path = fileURLToPath(url);
  if (!existsSync(path)) return `${link}: there is no such file`;
  if (url.hash === '' || !statSync(path).isFile()) return null;
  const headings = [...readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm)];
  const anchors = headings.map((match) => `#${anchorOf(match[1] as string)}`);
  return anchors.includes(url.hash) ? null : `${link}: there is no such heading`;
}

test.each(DOCUMENTS)('the links in %s lead somewhere', (name) => {
  const url = new URL(name, ROOT);
  const text = readFileSync(url, 'utf8').replaceAll(/^ *```[^]*?^ *```$/gm, '');
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] as string);
  const own = links.filter((link) => !/^[a-z]+:/.test(link));
  expect(own.flatMap((link) => problemWith(link, url) ?? [])).toEqual([]);
});

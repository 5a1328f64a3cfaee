/** The API reference has every export, and says what the comments in the sources say. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { exportedEntries, pageOf, PARTS } from './api.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDER = new URL('../../docs/api/', import.meta.url);
const entries = exportedEntries();

/** As the formatter of this project leaves it. */
function formatted(text: string): string {
  const tool = `${ROOT}node_modules/oxfmt/bin/oxfmt`;
  const options = { cwd: ROOT, input: text, encoding: 'utf8' } as const;
  return execFileSync(process.execPath, [tool, '--stdin-filepath=page.md'], options);
}

test.each(PARTS)('docs/api/$file is made of the sources', (part) => {
  const url = new URL(part.file, FOLDER);
  const fresh = formatted(pageOf(part, entries));
  if (process.env['UPDATE_DOCS'] === '1') {
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(url, fresh);
  } else expect(existsSync(url) ? readFileSync(url, 'utf8') : '').toBe(fresh);
});

describe('every export', () => {
  const pages = PARTS.map((part) => pageOf(part, entries)).join('\n');

  test('is in the reference', () => {
    const names = entries.map(({ name }) => name);
    const missing = names.filter(
      (name) =>
        !pages.includes(`\n### ${name}\n`) && !new RegExp(`\\n- \`${name}(?: =|:) `).test(pages),
    );
    expect(missing).toEqual([]);
    expect(names.length).toBeGreaterThan(500);
  });

  test('that is a call or a type says what it is', () => {
    const silent = entries.filter(({ kind, text }) => kind !== 'constant' && text === '');
    expect(silent.map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
  });
});

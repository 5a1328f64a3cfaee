/** What the documents promise to be complete about. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../src/base/usage-error.ts';
import { FINDING_KINDS } from '../../src/kernel/finding.ts';

const errors = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');

describe('docs/errors.md', () => {
  it('explains every error code, in the order of the registry, and no other', () => {
    const documented = [...errors.matchAll(/^### (MN\d+)$/gm)].map((match) => match[1]);
    expect(documented).toEqual(Object.keys(ERROR_CODES));
  });

  it.each(Object.entries(ERROR_CODES))(
    'explains %s in the words of the registry',
    (code, words) => {
      const section = errors.split(`### ${code}\n`)[1]?.split('\n### ')[0] ?? '';
      const plain = section.replaceAll(/[_\s]+/g, ' ').toLowerCase();
      expect(plain).toContain(words.toLowerCase());
    },
  );
});

describe('docs/findings.md', () => {
  it('has every kind of finding, in the order of the registry', () => {
    const text = readFileSync(new URL('../../docs/findings.md', import.meta.url), 'utf8');
    const rows = text.split('\n').filter((line) => line.startsWith('| `'));
    const kinds = rows.flatMap((row) =>
      [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1]),
    );
    expect(kinds).toEqual([...FINDING_KINDS]);
  });
});

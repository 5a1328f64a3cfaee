/** Files of saved searches that were cut off, mangled, made up, or are about something else. */
import { assert, constantFrom, nat, property, string } from 'fast-check';
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { findScenario } from '../../src/catalogue/index.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import type { BoundWishes } from '../../src/check/make-explorer.ts';
import type { SavedVariant } from '../../src/check/search-parts.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';
import { UsageError } from '../../src/base/usage-error.ts';
import {
  decodeSearchFile,
  encodeSearchFile,
  readSearchFile,
  type SearchFile,
} from '../../src/cli/search-file.ts';

const SCENARIO = findScenario('program/refcount-3') as AnyScenario;
const WHOLE = checkVariant(SCENARIO, 'sc');

/** How far a search is after so many moments of rest. */
function savedAfter(rests: number, wishes: BoundWishes = {}): SavedVariant {
  const seen: SavedVariant[] = [];
  checkVariant(SCENARIO, 'sc', {
    ...wishes,
    boundReached: () =>
      seen.length >= rests ? { kind: 'interrupted', limit: 0, isRequested: true } : null,
    parts: { isRestWanted: () => true, atRest: (save) => seen.push(save()) },
  });
  return seen.at(-1) as SavedVariant;
}

function fileOf(saved: SavedVariant): SearchFile {
  return {
    target: { kind: 'scenario', name: SCENARIO.name },
    variant: null,
    stepCountMax: null,
    preemptions: null,
    shortest: false,
    shard: null,
    entries: [{ scenario: SCENARIO.name, variant: 'sc', fingerprint: 'f', isOver: false, saved }],
  };
}

const CONTENT = fileOf(savedAfter(100));
const TEXT = encodeSearchFile(CONTENT);

function refusal(text: string): UsageError | null {
  try {
    expect(decodeSearchFile(text, 'f')).toEqual(CONTENT);
    return null;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return error;
  }
}

/** With the length and the hash of what it has now. */
function sealed(body: string): string {
  const header = JSON.parse(TEXT.slice(0, TEXT.indexOf('\n'))) as object;
  const sha256 = createHash('sha256').update(body).digest('hex');
  return `${JSON.stringify({ ...header, bytes: Buffer.byteLength(body), sha256 })}\n${body}\n`;
}

describe('a file of a saved search', () => {
  test('is read as it was written, and gone on with to the same result', () => {
    const { entries } = decodeSearchFile(TEXT, 'f');
    const resume = (entries[0] as { saved: SavedVariant }).saved;
    expect(resume.result.executions).toBeLessThan(WHOLE.executions);
    expect(checkVariant(SCENARIO, 'sc', { parts: { resume } })).toEqual(WHOLE);
  });

  test.each<BoundWishes>([{ preemptions: 2 }, { shortest: true }, { preemptions: 9 }])(
    'is gone on with to the same result where it has a bound: %o',
    (wishes) => {
      const bounded = checkVariant(SCENARIO, 'sc', wishes);
      for (const rests of [1, 2, 5, 10]) {
        const text = encodeSearchFile(fileOf(savedAfter(rests, wishes)));
        const [entry] = decodeSearchFile(text, 'f').entries;
        const resume = (entry as { saved: SavedVariant }).saved;
        expect(resume.result.executions).toBeLessThan(bounded.executions);
        const parts = { resume };
        expect(checkVariant(SCENARIO, 'sc', { ...wishes, parts })).toEqual(bounded);
      }
      const over = savedAfter(1_000_000, wishes);
      const refused = (): unknown => checkVariant(SCENARIO, 'sc', { parts: { resume: over } });
      expect(refused).toThrow(/it was one with \d+ preemptions/);
    },
  );

  test('is refused wherever it was cut off', () => {
    for (let length = 0; length < TEXT.length - 1; length += 97) {
      expect(refusal(TEXT.slice(0, length))?.code).toBe('MN304');
    }
  });

  test('is refused or read rightly after any of 10,000 mutations', () => {
    const letters = string({ minLength: 0, maxLength: 4, unit: 'binary' });
    const place = nat(TEXT.length - 1);
    assert(
      property(place, nat(8), letters, (at, length, put) => {
        const error = refusal(TEXT.slice(0, at) + put + TEXT.slice(at + length));
        return error === null || error.code === 'MN304';
      }),
      { seed: 1, numRuns: 10_000 },
    );
  });

  test('is refused with a reason if another version wrote it', () => {
    expect(refusal(TEXT.replace('"formatVersion":2', '"formatVersion":3'))?.message).toContain(
      'it has format 3, this mmulab reads format 2',
    );
    expect(refusal(TEXT.replace(/"mmulab":"[^"]*"/, '"mmulab":"9.9.9"'))?.message).toContain(
      'it was written by mmulab "9.9.9"',
    );
  });

  test('is refused if it is no such file', () => {
    for (const text of ['', '\n', '{}\n{}', 'null\nnull', '[]\n', 'x'.repeat(100_000)]) {
      expect(refusal(text)?.message, text.slice(0, 20)).toContain('does not say what it is');
    }
    expect(() => readSearchFile('/nowhere/at/all')).toThrow(/cannot be read/);
  });

  test('is refused with the place of what is wrong, if somebody made it up', () => {
    const wrong = sealed(JSON.stringify({ ...CONTENT, entries: [{}] }));
    expect(refusal(wrong)?.message).toContain(`it.entries[0] lacks 'scenario'`);
    const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    expect(refusal(sealed(nested))?.code).toBe('MN304');
  });

  test.each<BoundWishes>([{}, { preemptions: 2 }])(
    'never crashes the search, whatever number in it was changed: %o',
    (wishes) => {
      const body = JSON.stringify(fileOf(savedAfter(100, wishes)));
      const numbers = [...body.matchAll(/(?<=[[:,])-?\d+(?=[\],}])/g)];
      assert(
        property(nat(numbers.length - 1), constantFrom(0, 1, 2, 3, 7, 31, 99, -1), (which, put) => {
          const { index, 0: old } = numbers[which] as RegExpExecArray;
          const text = sealed(body.slice(0, index) + String(put) + body.slice(index + old.length));
          try {
            const { entries } = decodeSearchFile(text, 'f');
            const resume = (entries[0] as { saved: SavedVariant }).saved;
            const options = { ...wishes, executionCountMax: 2000 };
            checkVariant(SCENARIO, 'sc', { ...options, parts: { resume } });
          } catch (error) {
            if (!(error instanceof UsageError)) throw error;
            expect(error.code).toMatch(/^MN30[34]$/);
          }
        }),
        { seed: 1, numRuns: Number(process.env['MMULAB_FORGED_COUNT'] ?? 100) },
      );
    },
  );
});

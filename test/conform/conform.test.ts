/** The mm does what a real kernel was recorded to do, and what differs is noticed and told. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ASPECTS, type Aspect } from '../../src/conform/compare.ts';
import { playRecording, Summary } from '../../src/conform/conform.ts';
import { parseRecording } from '../../src/conform/parse.ts';
import { differenceText, summaryJson, summaryText } from '../../src/conform/text.ts';

const folder = new URL('../kernel-traces/', import.meta.url);
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.jsonl'))
  .toSorted();
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');

describe.each(['anon', 'file', 'mremap', 'fork', 'mixed', 'sparse'])('the group %s', (group) => {
  it('agrees in every call and every aspect', () => {
    const summary = new Summary();
    const differences: string[] = [];
    for (const name of names.filter((candidate) => candidate.startsWith(group))) {
      const result = playRecording(parseRecording(name, read(name)));
      summary.add(result);
      if (result.difference !== null) differences.push(differenceText(result));
    }
    expect(differences.slice(0, 3)).toEqual([]);
    const all = { result: 3600, inv: 3600, vmas: 3600, present: 3600 };
    expect(Object.fromEntries(summary.groups)).toEqual({
      [group]: { files: 60, calls: 3600, agree: 3600, ...all },
    });
  });
});

/** A recording with some fields of the call in a line changed. */
function changed(line: number, fields: Readonly<Record<string, unknown>>): string {
  const lines = read('anon-000.jsonl').trimEnd().split('\n');
  const row = JSON.parse(lines[line - 1] as string) as object;
  return lines.with(line - 1, JSON.stringify({ ...row, ...fields })).join('\n');
}

describe('a recording that differs', () => {
  it.each<[Aspect, Readonly<Record<string, unknown>>]>([
    ['result', { ret: 1 }],
    ['result', { ret: -1, err: 'EINVAL' }],
    ['inv', { inv: [[0, 64]] }],
    ['vmas', { vmas: [] }],
    ['present', { present: '1'.repeat(64) }],
  ])('is counted in %s and nothing else: %j', (aspect, fields) => {
    const result = playRecording(parseRecording('a.jsonl', changed(13, fields)));
    const expected = Object.fromEntries(ASPECTS.map((name) => [name, name === aspect ? 59 : 60]));
    expect(result.tally).toEqual({ files: 1, calls: 60, agree: 59, ...expected });
    expect(result.difference?.call.line).toBe(13);
    expect(result.difference?.aspects).toEqual([aspect]);
  });

  it('is told with the first difference in full', () => {
    const result = playRecording(parseRecording('a.jsonl', changed(4, { inv: [[1, 2]], ret: 9 })));
    const text = differenceText(result);
    expect(text).toMatchInlineSnapshot(`
      "a.jsonl:4: 'mmap 40 1 rx anonp' differs
        result
          expected  9
          got       0
        inv
          expected  [1 2]
          got       [40 41]
        (vmas, present agree)"
    `);
  });

  it('is summed up by group, as text and as JSON', () => {
    const summary = new Summary();
    summary.add(playRecording(parseRecording('a.jsonl', changed(4, { ret: 9 }))));
    summary.add(playRecording(parseRecording('b.jsonl', read('fork-000.jsonl'))));
    expect(summaryText(summary)).toMatchInlineSnapshot(`
      "group  files  calls  agree  result  inv  vmas  present
      anon       1     60     59      59   60    60       60
      fork       1     60     60      60   60    60       60
      total      2    120    119     119  120   120      120"
    `);
    const half = { files: 1, calls: 60 };
    const rest = { inv: 60, vmas: 60, present: 60 };
    expect(JSON.parse(summaryJson(summary))).toEqual({
      schemaVersion: 1,
      groups: {
        anon: { ...half, agree: 59, result: 59, ...rest },
        fork: { ...half, agree: 60, result: 60, ...rest },
      },
      total: {
        files: 2,
        calls: 120,
        agree: 119,
        result: 119,
        inv: 120,
        vmas: 120,
        present: 120,
      },
    });
  });
});

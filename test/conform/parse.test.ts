/** What is a recording, and how everything else is refused. */
import { readdirSync, readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/base/usage-error.ts';
import { parseRecording } from '../../src/conform/parse.ts';

const folder = new URL('../kernel-traces/', import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
const read = (name: string): string => readFileSync(new URL(name, folder), 'utf8');

const text = read('mixed-000.jsonl');
const lines = text.trimEnd().split('\n');

/** The refusal of a text, as `line: reason`. */
function refusal(of: string): string {
  try {
    parseRecording('a.jsonl', of);
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    const { code, place, message } = error as UsageError;
    expect(code).toBe('MN501');
    return `${place}: ${message}`;
  }
  return 'accepted';
}

/** The recording with a line changed. */
function withLine(line: number, change: (row: Record<string, unknown>) => unknown): string {
  const row = JSON.parse(lines[line - 1] as string) as Record<string, unknown>;
  const changed = change(row);
  return lines.with(line - 1, JSON.stringify(changed)).join('\n');
}

describe('a recording', () => {
  it('is accepted, each of them', () => {
    expect(names).toHaveLength(360);
    for (const name of names) {
      const { header, calls } = parseRecording(name, read(name));
      expect(name.startsWith(header.group)).toBe(true);
      expect(calls).toHaveLength(60);
    }
  });

  it('is the same with or without a last line break, and with those of Windows', () => {
    const whole = parseRecording('a', text);
    expect(parseRecording('a', text.trimEnd())).toEqual(whole);
    expect(parseRecording('a', text.replaceAll('\n', '\r\n'))).toEqual(whole);
  });

  it('is refused when it is cut off anywhere but behind a call', () => {
    fc.assert(
      fc.property(fc.nat(text.length - 2), (length) => {
        const cut = text.slice(0, length);
        const isBehindCall = text[length] === '\n' || text[length - 1] === '\n';
        const callCount = cut.trimEnd().split('\n').length - 1;
        const isWhole = isBehindCall && callCount > 0;
        expect(refusal(cut) === 'accepted').toBe(isWhole);
      }),
    );
  });

  it('names the line at which it is cut off', () => {
    const cut = [...lines.slice(0, 9), lines[9]?.slice(0, 40)].join('\n');
    expect(refusal(cut)).toBe('a.jsonl:10: the recording is cut off within this line');
    expect(refusal(lines[0] as string)).toBe(
      'a.jsonl:1: the recording is cut off after its header: there is no call',
    );
    expect(refusal('')).toBe('a.jsonl:1: an empty file is no recording');
  });

  it.each([
    ['{"name":"mmulab","version":"1"}', `1: the header of a recording has no 'files'`],
    ['hello\nworld\n', `1: no JSON: hello`],
    ['[1,2]\n', `1: expected a JSON object, found [1,2]`],
    ['\u0000\u0001', '1: no JSON'],
  ])('is not %j', (foreign, reason) => {
    expect(refusal(foreign)).toContain(`a.jsonl:${reason}`);
  });

  it.each<[string, string]>([
    ['kernel', '"Linux 5.4.0 x86_64"'],
    ['kernel', '"Linux 6.18.44 aarch64"'],
    ['kernel', '6.18'],
    ['pageSize', '16384'],
    ['units', '65'],
    ['unitPages', '0'],
    ['unitPages', '1e9'],
    ['group', '"__proto__ "'],
    ['files', '[]'],
    ['files', '{"f1":{"units":1,"firstByteOfUnit":"1+i"}}'],
    ['files', '{"f0":{"units":16,"firstByteOfUnit":"250+i"}}'],
    ['more', '1'],
  ])('is refused with a header whose %s is %s', (key, value) => {
    const changed = withLine(1, (row) => ({ ...row, [key]: JSON.parse(value) as unknown }));
    expect(refusal(changed)).toMatch(/^a\.jsonl:1: /);
  });

  it.each<[string, unknown]>([
    ['op', 'mmap 1 2 rw'],
    ['op', 'mmap 1 2 wr anonp'],
    ['op', 'mmap 1 2 rw f2p:0'],
    ['op', 'mmap 1 2 rw f0q:0'],
    ['op', 'mmap 1 2 rw anonp more'],
    ['op', 'mmap -1 2 rw anonp'],
    ['op', 'mmap 1.5 2 rw anonp'],
    ['op', 'munmap 1 99999'],
    ['op', 'munmap  1 2'],
    ['op', 'mmapnr 1 2 rw y'],
    ['op', 'madvise 1 2 SOMETHING'],
    ['op', 'madvise 1 2 toString'],
    ['op', 'mremap 1 2 3 moved:4'],
    ['op', 'read 1 4096'],
    ['op', 'fork -1'],
    ['op', 'fork -2 0'],
    ['op', 'truncate 2 1'],
    ['op', 'constructor 1 2'],
    ['op', 7],
    ['ret', -2],
    ['ret', 0.5],
    ['err', 'EWRONG'],
    ['err', 3],
    ['inv', [[3, 2]]],
    ['inv', [[1]]],
    ['inv', 'none'],
    ['vmas', [[1, 1, 'rw-p', 'anon', 0]]],
    ['vmas', [[1, 2, 'wr-p', 'anon', 0]]],
    ['vmas', [[1, 2, 'rw-p', 'f7', 0]]],
    [
      'vmas',
      [
        [1, 3, 'rw-p', 'anon', 0],
        [2, 4, 'rw-p', 'anon', 0],
      ],
    ],
    ['present', '.'],
    ['present', '?'.repeat(64)],
    ['more', 1],
  ])('is refused with a call whose %s is %j', (key, value) => {
    expect(refusal(withLine(5, (row) => ({ ...row, [key]: value })))).toMatch(/^a\.jsonl:5: /);
  });

  it('is refused with a call that lacks a field, or an empty line', () => {
    expect(refusal(withLine(7, ({ inv: _inv, ...row }) => row))).toBe(
      `a.jsonl:7: the call has no 'inv'`,
    );
    expect(refusal(lines.with(3, '').join('\n'))).toBe('a.jsonl:4: an empty line');
  });

  it('never throws anything but a refusal', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.json(), (line, json) => {
        const reason = refusal(lines.with(line - 1, json).join('\n'));
        expect(reason === 'accepted' || reason.startsWith(`a.jsonl:${line}: `)).toBe(true);
      }),
    );
  });
});

import { expect, test, vi } from 'vitest';
import { github, summary } from '../../src/report/github.ts';
import { loadReader } from '../util/reader.ts';
import { NASTY, NOTHING, sampleInput } from './sample-input.ts';

interface ActionsCore {
  error(message: string, properties: Readonly<Record<string, unknown>>): void;
}

function unescape(text: string): string {
  return text
    .replaceAll('%3A', ':')
    .replaceAll('%2C', ',')
    .replaceAll('%0D', '\r')
    .replaceAll('%0A', '\n')
    .replaceAll('%25', '%');
}

/** A command taken apart as the runner does it. */
function parse(line: string) {
  const match = /^::(\w+) (.*?)::(.*)$/s.exec(line);
  if (match === null) throw new Error(`no command: ${line}`);
  const [, command, list = '', data = ''] = match;
  const properties = Object.fromEntries(
    list.split(',').map((item) => {
      const at = item.indexOf('=');
      return [item.slice(0, at), unescape(item.slice(at + 1))];
    }),
  );
  return { command, properties, message: unescape(data) };
}

const lines = (github.write(sampleInput())[0] ?? '').trimEnd().split('\n');

test('what is not as expected is annotated, and nothing else', () => {
  expect(lines.map((line) => parse(line).properties['title']?.slice(0, 42))).toEqual([
    'toy-unregister race: data race on toy_tabl',
    'toy-unregister leak: leak of toy_process',
    `nasty ${NASTY}`.slice(0, 42),
    'toy-locks before',
    'MN201',
    'MN103',
  ]);
  expect(github.write({ ...NOTHING, variants: sampleInput().variants.slice(0, 1) })).toEqual([]);
});

test('an annotation is at the line of the code, and has the line that replays it', () => {
  const { command, properties, message } = parse(lines[0] ?? '');
  expect(command).toBe('error');
  expect(properties['file']).toBe('sample.ts');
  expect(Number(properties['line'])).toBeGreaterThan(1);
  expect(message).toMatch(/\nreplay: npx mmulab replay mn1_/);
});

test("GitHub's own library writes the same", (context) => {
  const core = loadReader(context, '@actions/core/lib/core.js') as ActionsCore;
  const written: string[] = [];
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written.push(String(text));
    return true;
  });
  try {
    for (const line of lines) {
      const { properties, message } = parse(line);
      const { title, file, line: startLine } = properties;
      core.error(message, { title, ...(file === undefined ? {} : { file, startLine }) });
    }
  } finally {
    write.mockRestore();
  }
  expect(written.map((text) => text.trimEnd())).toEqual(lines);
});

test('the summary is a table in which nothing breaks a row', () => {
  const rows = summary(sampleInput()).trimEnd().split('\n').slice(2);
  expect(rows).toHaveLength(2 + 7 + 2);
  for (const row of rows) {
    expect(row.replaceAll(/\\\|/g, '').match(/\|/g), row).toHaveLength(4);
  }
});

/** What is told while a search goes on. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, describe, expect, it, test } from 'vitest';
import { Counters } from '../../src/cli/counters.ts';
import { progressText } from '../../src/cli/progress.ts';
import { MAIN, Workshop } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

describe('the line', () => {
  const figures = {
    name: 'gru-open (v5.3)',
    executions: 12_345,
    seconds: 3,
    depth: 57,
    remaining: { low: 2000, high: 9000 },
  };

  it('tells executions, a band of what remains, the rate and the depth', () => {
    expect(progressText(figures)).toBe(
      'gru-open (v5.3): 12,345 executions, some 2,000 to 9,000 more, 4,100 a second, 57 steps deep',
    );
  });

  it.each([
    { remaining: null, says: '12,345 executions, 4,100 a second' },
    { remaining: { low: 17, high: 17 }, says: ', 17 more,' },
    { remaining: { low: 4010, high: 4040 }, says: ', some 4,000 more,' },
    { remaining: { low: 0, high: 3 }, says: ', some 0 to 3 more,' },
    { remaining: { low: 10, high: 1e20 }, says: ', some 10 to a thousand trillion more,' },
    { remaining: { low: 10, high: Infinity }, says: '12,345 executions, 4,100 a second' },
  ])('says $says', ({ remaining, says }) => {
    const text = progressText({ ...figures, remaining });
    expect(text).toContain(says);
    expect(text).not.toContain('%');
  });
});

test('what remains is told only when somebody asks', () => {
  const worker = new Counters();
  const watcher = new Counters(worker.buffer);
  expect(worker.isAskedWhatRemains).toBe(false);
  watcher.askWhatRemains();
  expect(worker.isAskedWhatRemains).toBe(true);
  expect(watcher.remainingTold).toBeNull();
  worker.noteRemaining({ low: 0.5, high: 1e12 });
  expect(worker.isAskedWhatRemains).toBe(false);
  expect(watcher.remainingTold).toEqual({ low: 0.5, high: 1e12 });
  worker.noteRemaining(null);
  expect(watcher.remainingTold).toBeNull();
});

const LINE =
  /program\/lockinc-9 \(sc\): [\d,]+ executions, some [\d,]+(?: \w+)? to [\d,.]+(?: \w+)? more, [\d,]+ a second, 18 steps deep/;

describe('progress', () => {
  const SEARCH = ['check', 'program/lockinc-9', '--timeout', '3'];

  it('is not told where stderr is no terminal', async () => {
    const { stderr } = await shop.run(SEARCH);
    expect(stderr).toBe('');
  });

  it('is told there with --progress, a line now and then, and never in the result', async () => {
    const { code, stdout, stderr } = await shop.run([...SEARCH, '--progress', '--json']);
    expect(stderr.split('\n')[0]).toMatch(new RegExp(`^${LINE.source}$`));
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1 });
    expect(code).toBe(0);
  });

  it('counts down where it is known what remains', async () => {
    const sample = ['--sample', 'random', '--samples', '1000000', '--timeout', '3'];
    const { stderr } = await shop.run(['check', 'program/lockinc-9', ...sample, '--progress']);
    const [, done = '', left = ''] = /: ([\d,]+) executions, ([\d,]+) more,/.exec(stderr) ?? [];
    const [first, second] = [done, left].map((text) => Number(text.replaceAll(',', '')));
    // The second number is a little older than the first.
    expect((first as number) + (second as number)).toBeGreaterThanOrEqual(1_000_000);
    expect(first).toBeGreaterThan(0);
  });

  // util-linux; there is no other way to have a terminal here.
  it.skipIf(!existsSync('/usr/bin/script'))('is one line of a terminal, written over', async () => {
    const command = [process.execPath, MAIN, ...SEARCH].join(' ');
    const { CI: _, ...env } = process.env;
    const terminal = shop.follow(
      spawn('/usr/bin/script', ['-qec', command, '/dev/null'], { cwd: shop.folder, env }),
    );
    const { code, stdout } = await terminal.ended;
    const CLEAR = '\u001B[K';
    const lines = stdout.split('\r').filter((line) => line.startsWith('program/lockinc-9 (sc): '));
    expect(lines.length).toBeGreaterThan(2);
    expect(lines.every((line) => line.endsWith(CLEAR) && line.length < 100 + CLEAR.length)).toBe(
      true,
    );
    expect(lines.join('')).toMatch(/executions, some [\d,]+/);
    // Nothing of it is left in front of the result.
    const before = stdout.slice(0, stdout.indexOf('program/lockinc-9 sc'));
    expect(before.slice(before.lastIndexOf('\r'))).toContain(CLEAR);
    expect(code).toBe(0);
  });
});

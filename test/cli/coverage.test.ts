/** `check --coverage`: the lines that no execution ran. */
import { readFileSync } from 'node:fs';
import { afterAll, expect, it } from 'vitest';
import { lineRanges, mergeCoverage } from '../../src/cli/coverage.ts';
import { scenarioFile, Workshop } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

const BODY = `    if (thing === null) {
      yield* change(thing);
      return;
    }
    yield* change(thing);`;

it('lists the lines of a file that nothing ran', async () => {
  const source = scenarioFile(BODY);
  shop.write({ 'partly.ts': source });
  const { code, stdout } = await shop.run(['check', './partly.ts', '--coverage']);
  const at = source.split('\n').findIndex((line) => line.includes('thing === null')) + 1;
  expect(stdout).toMatch(new RegExp(`partly\\.ts: of \\d+ lines not ${at + 1}-${at + 2}\\n`));
  expect(code).toBe(0);
});

it('names the same lines in JSON', async () => {
  shop.write({ 'partly.ts': scenarioFile(BODY) });
  const { stdout } = await shop.run(['check', './partly.ts', '--coverage', '--json']);
  const { coverage } = JSON.parse(stdout) as { coverage: { path: string; missed: number[] }[] };
  expect(coverage).toHaveLength(1);
  expect(coverage[0]?.missed).toHaveLength(2);
});

it('counts a driver of ours as far as the scenario used it, and no other', async () => {
  const { stdout } = await shop.run(['check', 'kfd-unregister', '--coverage', '--json']);
  const { coverage } = JSON.parse(stdout) as { coverage: { path: string; missed: number[] }[] };
  expect(coverage.every(({ path }) => path.startsWith('src/drivers/amdkfd/'))).toBe(true);
  const chardev = coverage.find(({ path }) => path.endsWith('kfd-chardev.ts'));
  const source = readFileSync(new URL('../../src/drivers/amdkfd/kfd-chardev.ts', import.meta.url));
  const lines = source.toString().split('\n');
  // Nobody gives the device a command.
  const missed = chardev?.missed.map((line) => lines[line - 1] ?? '') ?? [];
  expect(missed.some((line) => line.includes('pqmCreateQueue(process)'))).toBe(true);
  expect(missed.some((line) => line.includes('file.privateData = process'))).toBe(false);
});

it('says nothing of coverage where nobody asks', async () => {
  shop.write({ 'partly.ts': scenarioFile(BODY) });
  const { stdout } = await shop.run(['check', './partly.ts']);
  expect(stdout).not.toContain('no execution ran');
});

it('takes a line as run if one of several runs ran it', () => {
  const parts = [
    { path: 'b.ts', run: [1, 2], missed: [3, 4] },
    { path: 'a.ts', run: [1], missed: [] },
    { path: 'b.ts', run: [3], missed: [1, 2, 4] },
  ];
  expect(mergeCoverage(parts)).toEqual([
    { path: 'a.ts', run: [1], missed: [] },
    { path: 'b.ts', run: [1, 2, 3], missed: [4] },
  ]);
});

it('writes neighbouring lines as a range', () => {
  expect(lineRanges([])).toBe('');
  expect(lineRanges([3, 5, 6, 7, 9])).toBe('3, 5-7, 9');
});

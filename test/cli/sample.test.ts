/** `check --sample`, and results in which goals are missing. */
import { afterAll, describe, expect, it } from 'vitest';
import { scenarioFile, Workshop, type Ended } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

function resultsOf({ stdout }: Ended): readonly Record<string, unknown>[] {
  return (JSON.parse(stdout) as { results: Record<string, unknown>[] }).results;
}

const SAMPLE = ['check', 'program/refcount-3', '--samples', '300', '--sample'];

describe('--sample', () => {
  it.each(['random', 'pct', 'pos', 'weighted'])('%s says what it has seen', async (method) => {
    const { code, stdout, stderr } = await shop.run([...SAMPLE, method, '--seed', '9']);
    expect(stdout).toMatch(/^bounded: no violation in 300 executions, but .* drawn at random/m);
    expect(stdout).toMatch(/^\d+ distinct traces in 300 executions, drawn by .* with seed 9$/m);
    expect([code, stderr]).toEqual([0, '']);
  });

  it('prints the same bytes with the same seed, and others with another', async () => {
    const [first, second, third] = await Promise.all(
      ['3', '3', '4'].map((seed) => shop.run([...SAMPLE, 'pos', '--seed', seed, '--json'])),
    );
    expect(second?.stdout).toBe(first?.stdout);
    expect(third?.stdout).not.toBe(first?.stdout);
  });

  it('finds and draws the bug of patch 9', async () => {
    const args = ['kfd-unregister', '--variant', 'v5.3', '--sample', 'pos', '--samples', '300'];
    const { code, stdout } = await shop.run(['check', ...args]);
    expect(stdout).toMatch(/CPU0 \(open\) +CPU1 \(munmap\)/);
    expect(stdout).toContain('BUG: use after free of kfd_process');
    expect(stdout).toContain('300 executions, bounded: the executions were drawn at random');
    expect(code).toBe(0);
  });

  it('has its figures in the JSON document', async () => {
    const args = [...SAMPLE, 'pct', '--depth', '5', '--json'];
    expect(resultsOf(await shop.run(args))[0]).toMatchObject({
      verdict: 'bounded',
      complete: false,
      bound: { kind: 'samples', limit: 300, requested: true },
      executions: 300,
      sampling: { method: 'pct', samples: 300, seed: 1, depth: 5, cut: 0 },
    });
  });

  it('goes on after an execution that is too long', async () => {
    const args = [...SAMPLE, 'random', '--max-steps', '8'];
    const { code, stdout } = await shop.run(args);
    expect(stdout).toMatch(/^\d+ executions cut after 8 steps$/m);
    expect(code).toBe(0);
  });

  it('is ended by --timeout as any search', async () => {
    const args = ['program/lockinc-9', '--sample', 'pos', '--samples', '100000000'];
    const ended = await shop.run(['check', ...args, '--timeout', '0.5', '--json']);
    expect(resultsOf(ended)[0]).toMatchObject({
      bound: { kind: 'time', limit: 0.5, requested: true },
      sampling: { samples: 100_000_000 },
    });
    expect(ended.code).toBe(0);
  });

  it.each([
    { args: ['--sample', 'dice'], says: 'expected one of random, pct, pos, weighted' },
    { args: ['--samples', '10'], says: '--samples needs --sample' },
    { args: ['--seed', '10'], says: '--seed needs --sample' },
    { args: ['--sample', 'pos', '--depth', '2'], says: '--depth is for --sample pct' },
    { args: ['--sample', 'pct', '--depth', '0'], says: 'expected a whole number above 0' },
    { args: ['--sample', 'pos', '--seed', '-1'], says: 'expected a whole number' },
    { args: ['--sample', 'pos', '--max-executions', '5'], says: '--samples says how many' },
  ])('is refused with $args', async ({ args, says }) => {
    const { code, stdout, stderr } = await shop.run(['check', 'program/probe', ...args]);
    expect(stderr).toContain(says);
    expect([code, stdout]).toEqual([2, '']);
  });
});

describe('a vacuous result', () => {
  const VAIN = scenarioFile(
    `    goal('sea');\n    yield* change(thing);`,
    `goals: ['sea', 'moon']`,
  ).replace('import {', 'import { goal,');

  it('names the goals that were not reached, and an execution to look at', async () => {
    shop.write({ 'vain.ts': VAIN });
    const { code, stdout } = await shop.run(['check', './vain.ts']);
    expect(stdout).toMatch(/^vacuous: no violation in 2 executions, but none .* reached 'moon'/m);
    expect(stdout).toMatch(/^reached: 'sea'\nnever reached: 'moon'$/m);
    const token = /^an execution to look at: npx mmulab replay (mn2_\S+)$/m.exec(stdout)?.[1];
    const replayed = await shop.run(['replay', token ?? '']);
    expect(replayed.stdout).toContain('mutex_lock(&thing.lock)');
    expect(replayed.stdout).toContain('no violation');
    expect([code, replayed.code]).toEqual([1, 0]);
    const [result] = resultsOf(await shop.run(['check', './vain.ts', '--json']));
    expect(result?.['example']).toBe(token);
  });
});

describe('a picture in a pipe', () => {
  it('has source lines when it is replayed as when it is found', async () => {
    shop.write({ 'race.ts': scenarioFile(`\n    thing.value += 1;`) });
    const found = await shop.run(['check', './race.ts']);
    const token = /replay (mn2_\S+)/.exec(found.stdout)?.[1] ?? '';
    const { stdout } = await shop.run(['replay', token]);
    const sourceColumn = /^ +\d* +\S.* {2,}race\.ts:\d+$/m;
    expect(found.stdout).toMatch(sourceColumn);
    expect(stdout).toMatch(sourceColumn);
  });
});

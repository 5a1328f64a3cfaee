/** What the command does with its arguments. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ROOT, Workshop } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
};

describe('the command line', () => {
  it('tells its version', async () => {
    expect(await shop.run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('explains all exit codes in its help, of every command', async () => {
    for (const args of [['--help'], ['check', '--help']]) {
      const { code, stdout, stderr } = await shop.run(args);
      expect([code, stderr]).toEqual([0, '']);
      for (const exitCode of [0, 1, 2, 3, 70, 74, 130, 143]) {
        expect(stdout).toMatch(new RegExp(`^ {2}${exitCode} +\\w`, 'm'));
      }
    }
  });

  it.each([
    { args: ['chek'], says: "unknown command 'chek'\n(Did you mean check?)" },
    { args: ['check', '--jsn'], says: "unknown option '--jsn'\n(Did you mean --json?)" },
    { args: ['list', 'all'], says: 'too many arguments' },
    { args: ['check', '--max-executions', '1e3', 'x'], says: 'expected a whole number above 0' },
    { args: ['check', '--max-steps', '0', 'x'], says: 'expected a whole number above 0' },
    { args: ['check', '--timeout', 'soon', 'x'], says: 'expected seconds, like 30' },
    { args: ['replay'], says: "missing required argument 'token'" },
    { args: ['init'], says: "missing required argument 'name'" },
    { args: ['check'], says: 'nothing to check' },
    { args: ['check', '--watch', 'program/ab-ba'], says: '--watch needs a file' },
    { args: ['check', '--watch', '--json', './a.ts'], says: '--json exactly one' },
  ])('refuses $args', async ({ args, says }) => {
    const { code, stdout, stderr } = await shop.run(args);
    expect(stderr).toContain(says);
    expect([code, stdout]).toEqual([2, '']);
  });

  it('prints its help and fails when nothing is asked of it', async () => {
    const { code, stdout, stderr } = await shop.run([]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('Usage: mmulab');
  });
});

describe('names', () => {
  it.each([
    { args: ['check', 'program/ab-bb'], says: "Did you mean 'program/ab-ba'?" },
    { args: ['demo', 'kfd-unregistr'], says: "Did you mean 'kfd-unregister'?" },
    {
      args: ['check', 'kfd-unregister', '--variant', 'serie'],
      says: "no variant 'serie'. Did you mean 'series'?",
    },
  ])('of scenarios and variants are compared with those there are: $args', async (line) => {
    const { code, stdout, stderr } = await shop.run(line.args);
    expect(stderr).toContain(line.says);
    expect(stderr).toMatch(/\(MN10[12]\)\n$/);
    expect([code, stdout]).toEqual([2, '']);
  });
});

describe('list', () => {
  it('shows every scenario with its variants and what they are expected to do', async () => {
    const { code, stdout } = await shop.run(['list']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^kfd-unregister {2}\(patch 9/m);
    expect(stdout).toMatch(/^ {4}v5\.3 +use-after-free of kfd_process/m);
    expect(stdout).toMatch(/^ {4}series +clean/m);
  });

  it('is one document with --json', async () => {
    const { code, stdout } = await shop.run(['list', '--json']);
    const document = JSON.parse(stdout) as { schemaVersion: number; scenarios: { name: string }[] };
    expect(code).toBe(0);
    expect(document.schemaVersion).toBe(1);
    expect(document.scenarios.map(({ name }) => name)).toContain('kfd-unregister');
  });

  it('ends quietly when its reader has gone', async () => {
    const running = shop.start(['list']);
    running.process.stdout?.destroy();
    const { code, stderr } = await running.ended;
    expect([code, stderr]).toEqual([0, '']);
  });
});

/** `mmulab claim`, as a command. */
import { spawnSync } from 'node:child_process';
import { afterAll, describe, expect, it } from 'vitest';
import { MAIN, Workshop } from './mmulab.ts';

const workshop = new Workshop();
afterAll(() => workshop.remove());

const POSSIBLE = 'CPU0: mutex_lock(a)\nCPU1: mutex_lock(b)\nDEADLOCK\n';
const IMPOSSIBLE = 'T1: mutex_unlock(a)\nT1: mutex_lock(a)\n';
const IN = ['--scenario', 'program/ab-ba'];

describe('mmulab claim', () => {
  it('exits with 0 where the claim is reachable, with a token that replays it', async () => {
    workshop.write({ 'claim.txt': POSSIBLE });
    const { code, stdout, stderr } = await workshop.run(['claim', 'claim.txt', ...IN]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('program/ab-ba sc (acceptance): reachable');
    const token = /npx mmulab replay (mn2_\S+)/.exec(stdout)?.[1] ?? '';
    const replayed = await workshop.run(['replay', token]);
    expect(replayed.stdout).toContain('deadlock');
  });

  it('exits with 1 where it is not, and says why', async () => {
    workshop.write({ 'claim.txt': IMPOSSIBLE });
    const { code, stdout } = await workshop.run(['claim', 'claim.txt', ...IN]);
    expect(code).toBe(1);
    expect(stdout).toContain('not reachable');
    expect(stdout).toContain('program order');
  });

  it('reads standard input, and prints one JSON document', () => {
    const { status, stdout } = spawnSync(process.execPath, [MAIN, 'claim', '-', '--json', ...IN], {
      input: POSSIBLE,
      encoding: 'utf8',
    });
    expect(status).toBe(0);
    const document = JSON.parse(stdout) as Record<string, unknown>;
    expect(document).toMatchObject({
      schemaVersion: 1,
      verdict: 'reachable',
      claim: { format: 'lines', columns: ['CPU0', 'CPU1'] },
      answers: [
        {
          scenario: 'program/ab-ba',
          complete: true,
          executions: 3,
          reachable: { matches: 1, columns: { CPU0: 'ab', CPU1: 'ba' } },
        },
      ],
    });
  });

  it.each([
    ['no file', 'missing.txt', /there is no file 'missing.txt' \(MN601\)/],
    ['a folder', '.', /'\.' is no file \(MN601\)/],
    ['no text', 'binary', /no UTF-8 text \(MN601\)/],
    ['too much', 'huge', /262145 bytes long, the limit is 262144 \(MN601\)/],
    ['nothing', 'empty', /it has no step/],
  ])('exits with 2 for %s', (_, path, message) => {
    workshop.write({ huge: 'x'.repeat(262_145), empty: '' });
    spawnSync(process.execPath, ['-e', `fs.writeFileSync('binary', Buffer.from([0xff, 0xfe]))`], {
      cwd: workshop.folder,
    });
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'claim', path, ...IN], {
      cwd: workshop.folder,
      encoding: 'utf8',
    });
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });
});

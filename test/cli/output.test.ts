/** Results that cannot be written. */
import { spawn } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { MAIN, OWN_STACK, Workshop } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

/** Always full. */
const FULL = '/dev/full';

describe.skipIf(!existsSync(FULL))('where there is no room for it, a result', () => {
  it.each([
    { args: ['list'] },
    { args: ['--help'] },
    { args: ['check', 'program/ab-ba'] },
    { args: ['check', 'program/ab-ba', '--json'] },
  ])('of $args is missed in one sentence', async ({ args }) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: shop.folder,
      stdio: ['ignore', openSync(FULL, 'w'), 'pipe'],
    });
    const { code, stderr } = await shop.follow(child).ended;
    expect(stderr).toBe('mmulab: the result cannot be written: no space left on device (ENOSPC)\n');
    expect(code).toBe(74);
  });

  it('is there all the same if only notes cannot be written', async () => {
    const child = spawn(process.execPath, [MAIN, 'check', 'program/ab-bb'], {
      cwd: shop.folder,
      stdio: ['ignore', 'pipe', openSync(FULL, 'w')],
    });
    const { code, stdout } = await shop.follow(child).ended;
    expect([code, stdout]).toEqual([2, '']);
  });
});

describe('a reader that goes away', () => {
  it('is no failure', async () => {
    const running = shop.start(['check', 'program/ab-ba', 'program/probe', 'program/lockinc-4']);
    await running.until(() => running.stdout !== '');
    running.process.stdout?.destroy();
    const { code, stderr } = await running.ended;
    expect(stderr).not.toMatch(OWN_STACK);
    expect([code, stderr]).toEqual([0, '']);
  });
});

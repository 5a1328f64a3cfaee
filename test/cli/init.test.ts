/** `init`: what it writes checks clean, breaks as its comment says, passes as a test, and type-checks. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { NODES, ROOT, Running, Workshop, type Ended } from './mmulab.ts';

const shop = new Workshop();
/** Inside the clone, where `mmulab` is found by its name. */
mkdirSync(join(ROOT, 'test-results'), { recursive: true });
const inside = mkdtempSync(join(ROOT, 'test-results/init-'));

afterAll(() => {
  shop.remove();
  rmSync(inside, { recursive: true });
});

const read = (name: string): string => readFileSync(join(shop.folder, name), 'utf8');

/** Takes away the line after the comment that says so. */
function withoutMarkedLine(text: string): string {
  const lines = text.split('\n');
  const at = lines.findIndex((line) => line.includes('Take the next line away'));
  return [...lines.slice(0, at + 1), ...lines.slice(at + 2)].join('\n');
}

function tool(script: string, args: readonly string[], cwd: string): Promise<Ended> {
  const path = join(ROOT, 'node_modules', script);
  const env = { ...process.env, NO_COLOR: '1' };
  return new Running(spawn(process.execPath, [path, ...args], { cwd, env })).ended;
}

describe('init', () => {
  it('writes a driver of 30 to 60 lines and a test, and says what to do next', async () => {
    const { code, stdout, stderr } = await shop.run(['init', 'my-gadget']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('npx mmulab check ./my-gadget.ts');
    expect(stdout).toContain('npx vitest run my-gadget.test.ts');
    const lines = read('my-gadget.ts').trimEnd().split('\n').length;
    expect(lines).toBeGreaterThanOrEqual(30);
    expect(lines).toBeLessThanOrEqual(60);
    expect(existsSync(join(shop.folder, 'my-gadget.test.ts'))).toBe(true);
  });

  it('never overwrites, and then writes nothing at all', async () => {
    shop.write({ 'taken.test.ts': 'mine' });
    const { code, stdout, stderr } = await shop.run(['init', 'taken']);
    expect(stderr).toBe(
      "mmulab: 'taken.test.ts' is there already, and nothing was written (MN401)\n",
    );
    expect([code, stdout, read('taken.test.ts')]).toEqual([2, '', 'mine']);
    expect(existsSync(join(shop.folder, 'taken.ts'))).toBe(false);
  });

  it.each(['../up', 'a/b', 'Upper', '1st', 'a_b', 'a--b', '-a', 'x'.repeat(41), 'é'])(
    'refuses the name %s',
    async (name) => {
      const { code, stderr } = await shop.run(['init', '--', name]);
      expect(stderr).toContain('cannot be the name of a driver');
      expect(code).toBe(2);
    },
  );
});

describe.each(NODES)('on %s, the driver that init writes', (node) => {
  it('is clean, completely, with every goal reached', async () => {
    await shop.run(['init', 'clean'], { node });
    const { code, stdout } = await shop.run(['check', './clean.ts', '--json'], { node });
    const { results } = JSON.parse(stdout) as { results: readonly object[] };
    expect(results).toEqual([
      expect.objectContaining({
        verdict: 'clean',
        complete: true,
        goals: [{ name: 'munmap told the driver', reached: true }],
      }),
    ]);
    expect(code).toBe(0);
    rmSync(join(shop.folder, 'clean.ts'));
    rmSync(join(shop.folder, 'clean.test.ts'));
  });

  it('breaks without its marked line, and the picture shows the lines of the file', async () => {
    await shop.run(['init', 'broken'], { node });
    shop.write({ 'broken.ts': withoutMarkedLine(read('broken.ts')) });
    const { code, stdout } = await shop.run(['check', './broken.ts'], { node });
    expect(stdout).toContain('BUG: use after free of broken_mirror');
    expect(stdout).toMatch(/^ {2}broken_release +broken\.ts:\d+$/m);
    expect(code).toBe(1);
    rmSync(join(shop.folder, 'broken.ts'));
    rmSync(join(shop.folder, 'broken.test.ts'));
  });
});

describe('in the clone, what init writes', () => {
  it('passes as a test, and fails with picture and token once it is broken', async () => {
    await shop.run(['init', 'tested']);
    const driver = read('tested.ts');
    writeFileSync(join(inside, 'tested.test.ts'), read('tested.test.ts'));
    writeFileSync(join(inside, 'tested.ts'), driver);
    const args = ['run', '--root', ROOT, join(inside, 'tested.test.ts')];
    const good = await tool('vitest/vitest.mjs', args, ROOT);
    expect(good.stdout).toContain('1 passed');
    expect(good.code).toBe(0);

    writeFileSync(join(inside, 'tested.ts'), withoutMarkedLine(driver));
    const bad = await tool('vitest/vitest.mjs', args, ROOT);
    const output = bad.stdout + bad.stderr;
    expect(output).toContain('BUG: use after free of tested_mirror');
    expect(output).toMatch(/tested_release +\S*tested\.ts:\d+/);
    const token = /replay: npx mmulab replay (\S+)/.exec(output)?.[1] ?? '';
    expect(bad.code).toBe(1);
    const replayed = await tool('../dist/cli/main.js', ['replay', token], ROOT);
    expect(replayed.stdout).toContain('BUG: use after free of tested_mirror');
  });

  it('has no type error', async () => {
    await shop.run(['init', 'typed']);
    writeFileSync(join(inside, 'typed.ts'), read('typed.ts'));
    writeFileSync(join(inside, 'typed.test.ts'), read('typed.test.ts'));
    const config = { extends: '../../tsconfig.json', include: ['typed.ts', 'typed.test.ts'] };
    writeFileSync(join(inside, 'tsconfig.json'), JSON.stringify(config));
    const { code, stdout } = await tool('typescript/bin/tsc', ['-p', inside], ROOT);
    expect([code, stdout]).toEqual([0, '']);
  });
});

/** The rules of .oxlintrc.json that keep the layers apart, tried on files that break them. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mmulab-layers-'));
  copyFileSync(join(root, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Lints the given files and returns the rules that they break, as `path rule`. */
function lint(files: Readonly<Record<string, string>>): string[] {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const found = run(['--format=unix', ...Object.keys(files)])
    .split('\n')
    .map((line) => /^(.*?):\d+:\d+: .*\[\w+\/(.*)\]$/.exec(line))
    .filter((match) => match !== null)
    .map((match) => `${match[1]} ${match[2]}`);
  return [...new Set(found)].toSorted();
}

function run(args: readonly string[]): string {
  const oxlint = join(root, 'node_modules/oxlint/bin/oxlint');
  try {
    return execFileSync(process.execPath, [oxlint, ...args], { cwd: folder, encoding: 'utf8' });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

const RESTRICTED = 'eslint(no-restricted-imports)';

describe('layers', () => {
  it.each([
    ['src/kernel/a.ts', '../mm/b.ts'],
    ['src/kernel/a.ts', '../check/b.ts'],
    ['src/mm-types/a.ts', '../mmu-notifier/b.ts'],
    ['src/mmu-notifier/a.ts', '../mm/b.ts'],
    ['src/mm/a.ts', '../drivers/amdkfd/b.ts'],
    ['src/drivers/amdkfd/a.ts', '../../check/b.ts'],
    ['src/drivers/radeon/a.ts', '../amdkfd/b.ts'],
    ['src/check/detector/a.ts', '../../trace/b.ts'],
    ['src/check/a.ts', '../mm/b.ts'],
    ['src/check/a.ts', '../claim/b.ts'],
    ['src/claim/a.ts', '../report/b.ts'],
    ['src/trace/a.ts', '../report/b.ts'],
    ['src/report/a.ts', '../cli/b.ts'],
    ['src/catalogue/series/a.ts', '../../cli/b.ts'],
    ['src/mm/a.ts', '../conform/b.ts'],
    ['src/conform/a.ts', '../cli/b.ts'],
    ['src/mm/a.ts', '../index.ts'],
    ['src/index.ts', './cli/b.ts'],
  ])('%s must not import %s', (file, imported) => {
    const text = `import { b } from '${imported}';\nexport const a = b;\n`;
    expect(lint({ [file]: text })).toEqual([`${file} ${RESTRICTED}`]);
  });

  it('counts an import of types, and an export from elsewhere', () => {
    expect(
      lint({
        'src/kernel/a.ts': `import type { B } from '../mm/b.ts';\nexport type A = B;\n`,
        'src/kernel/c.ts': `export { b } from '../mm/b.ts';\n`,
      }),
    ).toEqual([`src/kernel/a.ts ${RESTRICTED}`, `src/kernel/c.ts ${RESTRICTED}`]);
  });

  it('keeps Node, packages, the clock and chance out of the engine', () => {
    expect(
      lint({
        'src/mm/a.ts': `import { readFileSync } from 'node:fs';\nexport const a = readFileSync;\n`,
        'src/report/b.ts': `import { Command } from 'commander';\nexport const b = Command;\n`,
        'src/check/c.ts': `export const c = Date.now() + Math.random();\n`,
      }),
    ).toEqual([
      'src/check/c.ts eslint(no-restricted-globals)',
      'src/check/c.ts eslint(no-restricted-properties)',
      `src/mm/a.ts ${RESTRICTED}`,
      `src/report/b.ts ${RESTRICTED}`,
    ]);
  });

  it('finds a cycle inside a layer', () => {
    expect(
      lint({
        'src/mm/a.ts': `import { b } from './b.ts';\nexport const a = (): unknown => b;\n`,
        'src/mm/b.ts': `import { a } from './a.ts';\nexport const b = (): unknown => a;\n`,
      }),
    ).toEqual(['src/mm/a.ts import(no-cycle)', 'src/mm/b.ts import(no-cycle)']);
  });

  it('lets imports go downwards, and lets the command line use Node', () => {
    expect(
      lint({
        'src/base/a.ts': `export const a = 1;\n`,
        'src/kernel/b.ts': `import { a } from '../base/a.ts';\nexport const b = a;\n`,
        'src/drivers/amdkfd/c.ts': `import { b } from '../../kernel/b.ts';\nexport const c = b;\n`,
        'src/cli/d.ts': `import { sep } from 'node:path';\nimport { c } from '../drivers/amdkfd/c.ts';\nexport const d = [sep, c];\n`,
      }),
    ).toEqual([]);
  });
});

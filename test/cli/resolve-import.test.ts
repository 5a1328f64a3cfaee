import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { importedFiles, resolveSpecifier } from '../../src/cli/resolve-import.ts';
import { Workshop } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

const path = (name: string): string => join(shop.folder, name);
const url = (name: string): string => pathToFileURL(path(name)).href;

shop.write({
  'main.ts': `import { a } from './a';\nexport * from "./sub/b.js";\nawait import('./c.ts');\nimport './gone';\nimport x from 'mmulab';\n`,
  'a.ts': `import './main';\n`,
  'sub/b.ts': `import type { D } from '../d';\n`,
  'c.ts': '',
  'd.ts': '',
  'e.js': '',
  'e.ts': '',
  'folder/index.ts': '',
});

test.each([
  ['./a', 'a.ts'],
  ['./a.ts', 'a.ts'],
  ['./a.js', 'a.ts'],
  ['./e.js', 'e.js'],
  ['./e', 'e.ts'],
  ['./folder', 'folder/index.ts'],
])('%s means %s', (specifier, name) => {
  expect(resolveSpecifier(specifier, url('main.ts'))).toBe(url(name));
});

test('what is not there, and what is a package, is left to Node', () => {
  expect(resolveSpecifier('./gone', url('main.ts'))).toBeNull();
  expect(resolveSpecifier('lodash', url('main.ts'))).toBeNull();
});

test('mmulab is the copy that runs, for whoever asks', () => {
  expect(resolveSpecifier('mmulab', url('main.ts'))).toMatch(/\/index\.js$/);
  expect(resolveSpecifier('mmulab/vitest', undefined)).toMatch(/\/cli\/vitest\.js$/);
});

test('the files that a file imports are found once each, also in a circle', () => {
  const names = ['main.ts', 'a.ts', 'sub/b.ts', 'c.ts', 'd.ts'];
  expect(importedFiles(path('main.ts'))).toEqual(names.map((name) => path(name)));
});

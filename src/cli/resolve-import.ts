/**
 * What an import in a user's own file means.
 *
 * - `mmulab` in it, and in files it imports, is the copy that is running, wherever the file lies.
 * - `./x`, `./x.js` and `./x.ts` all find `x.ts`. No `tsconfig.json` is read.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The folder of the running copy, with a slash at its end. */
export const PACKAGE_ROOT = new URL('../../', import.meta.url).href;

const OWN_MODULES: Readonly<Record<string, string>> = {
  mmulab: new URL('../index.js', import.meta.url).href,
  'mmulab/vitest': new URL('./vitest.js', import.meta.url).href,
};

/** Whether the module belongs to the running copy and not to a user. */
export function isOwnModule(url: string): boolean {
  return url.startsWith(`${PACKAGE_ROOT}dist/`) || url.includes('/node_modules/');
}

/** The URL that a user's file means by `specifier`, or null to leave it to Node. */
export function resolveSpecifier(specifier: string, parent: string | undefined): string | null {
  const own = OWN_MODULES[specifier];
  if (own !== undefined) return own;
  if (!/^\.\.?\//.test(specifier)) return null;
  if (parent === undefined || !parent.startsWith('file:') || isOwnModule(parent)) return null;
  const exact = new URL(specifier, parent);
  for (const candidate of candidates(exact.href)) {
    if (isFile(candidate)) return candidate;
  }
  return null;
}

function candidates(href: string): string[] {
  const found = [href];
  if (/\.m?js$/.test(href)) found.push(href.replace(/js$/, 'ts'));
  found.push(`${href}.ts`, `${href}.mts`, `${href}.js`, `${href}.mjs`, `${href}/index.ts`);
  return found;
}

function isFile(url: string): boolean {
  const path = fileURLToPath(url);
  return existsSync(path) && statSync(path).isFile();
}

const IMPORT = /\b(?:from|import)\s*\(?\s*(['"])(\.\.?\/[^'"]+)\1/g;

/**
 * The file at `path` and all that it imports by relative names, directly or not, in the order in
 * which they are met. Read off the text, so that it also works for files that do not parse.
 */
export function importedFiles(path: string): string[] {
  const found = [path];
  for (const file of found) {
    if (!existsSync(file)) continue;
    const parent = pathToFileURL(file).href;
    for (const match of readFileSync(file, 'utf8').matchAll(IMPORT)) {
      const url = resolveSpecifier(match[2] as string, parent);
      const next = url === null ? null : fileURLToPath(url);
      if (next !== null && !found.includes(next)) found.push(next);
    }
  }
  return found;
}

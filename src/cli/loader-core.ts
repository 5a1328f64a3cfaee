/**
 * How a user's own TypeScript file is found and made runnable: the part that both kinds of module
 * hooks share (see loader.ts).
 *
 * - `mmulab` in it, and in files it imports, is the copy that is running, wherever the file lies.
 * - `./x`, `./x.js` and `./x.ts` all find `x.ts`.
 * - Types are stripped by sucrase on every Node, which leaves each line where it was.
 *
 * Simplified: no `tsconfig.json` is read, namespaces and JSX are refused.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compileFunction } from 'node:vm';
import { transform, type Options } from 'sucrase';

/** The folder of the running copy, with a slash at its end. */
export const PACKAGE_ROOT = new URL('../../', import.meta.url).href;

const OWN_MODULES: Readonly<Record<string, string>> = {
  mmulab: new URL('../index.js', import.meta.url).href,
  'mmulab/vitest': new URL('./vitest.js', import.meta.url).href,
};

const TYPESCRIPT = /\.m?ts$/;
const NAMESPACE = /^\s*(?:export\s+)?(?:namespace|module)\s+[A-Za-z_$][\w$.]*\s*\{/;

/** A mistake in a user's file that no stack leads to. `place` is `file URL:line:column`. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  readonly place: string;

  constructor(message: string, place: string) {
    super(message);
    this.place = place;
  }
}

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

/** The JavaScript of a TypeScript file, or null if the module is none. Lines stay where they are. */
export function loadTypeScript(url: string): string | null {
  if (!url.startsWith('file:') || isOwnModule(url)) return null;
  const file = url.replace(/[?#].*$/, '');
  if (!TYPESCRIPT.test(file)) return null;
  return strip(readFileSync(fileURLToPath(file), 'utf8'), file, []);
}

function strip(source: string, url: string, more: Options['transforms']): string {
  refuseNamespaces(source, url);
  try {
    const options: Options = { transforms: ['typescript', ...more], disableESTransforms: true };
    return transform(source, options).code;
  } catch (error) {
    const { message, loc } = error as { message: string; loc?: { line: number; column: number } };
    const text = message.replace(/^Error transforming .*?: /, '').replace(/ \(\d+:\d+\)$/, '');
    throw new SourceError(text, `${url}:${loc?.line ?? 1}:${loc?.column ?? 1}`);
  }
}

/** They would vanish without a word. */
function refuseNamespaces(source: string, url: string): void {
  const at = source.split('\n').findIndex((line) => NAMESPACE.test(line));
  if (at < 0) return;
  throw new SourceError(
    'namespaces are not supported; export what is inside from a file of its own',
    `${url}:${at + 1}:1`,
  );
}

/**
 * Finds the mistake that only V8 noticed when it compiled `path` or what it imports: V8 tells the
 * line of a script's error, but not of a module's. Null if all of them compile.
 */
export function findSyntaxError(path: string): SourceError | null {
  for (const file of importedFiles(path)) {
    const error = syntaxErrorIn(file);
    if (error !== null) return error;
  }
  return null;
}

function syntaxErrorIn(path: string): SourceError | null {
  const url = pathToFileURL(path).href;
  try {
    const code = strip(readFileSync(path, 'utf8'), url, ['imports']);
    // On one line with the code, so that lines stay where they are.
    compileFunction(`async () => {${code}\n}`, [], { filename: url });
  } catch (error) {
    if (error instanceof SourceError) return error;
    if (!(error instanceof SyntaxError)) return null;
    const line = /^file:.*:(\d+)$/m.exec(error.stack ?? '')?.[1] ?? '1';
    return new SourceError(error.message, `${url}:${line}`);
  }
  return null;
}

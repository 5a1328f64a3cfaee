/**
 * Makes JavaScript of a user's TypeScript file: sucrase takes the types away, on every Node, and leaves
 * each line where it was. Namespaces are refused; JSX is not understood.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compileFunction } from 'node:vm';
import { transform, type Options } from 'sucrase';
import { importedFiles, isOwnModule } from './resolve-import.ts';

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

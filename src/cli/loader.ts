/**
 * Lets the present thread import TypeScript files that users wrote.
 *
 * Node's hooks that run in the same thread (`registerHooks`) are used where they exist, the older
 * ones (`register`, a thread of their own) elsewhere: Node 20 and the first releases of 22. Neither
 * prints a warning.
 */
import * as nodeModule from 'node:module';
import { resolveSpecifier } from './resolve-import.ts';
import { loadTypeScript } from './strip-types.ts';

interface ResolveResult {
  readonly url: string;
  readonly shortCircuit?: boolean;
}

interface LoadResult {
  readonly format: string;
  readonly source?: unknown;
  readonly shortCircuit?: boolean;
}

interface ResolveContext {
  readonly parentURL?: string | undefined;
}

/** Node's own declaration came with Node 22.15. */
interface SyncHooks {
  resolve(
    specifier: string,
    context: ResolveContext,
    next: (specifier: string, context: ResolveContext) => ResolveResult,
  ): ResolveResult;
  load(
    url: string,
    context: object,
    next: (url: string, context: object) => LoadResult,
  ): LoadResult;
}

const { registerHooks, register } = nodeModule as typeof nodeModule & {
  readonly registerHooks?: (hooks: SyncHooks) => void;
};

let isInstalled = false;

/** Installs the hooks, once. */
export function installLoader(): void {
  if (isInstalled) return;
  isInstalled = true;
  if (registerHooks === undefined) {
    register(new URL('./loader-hooks.js', import.meta.url));
    return;
  }
  registerHooks({
    resolve(specifier, context, next) {
      const url = resolveSpecifier(specifier, context.parentURL);
      return url === null ? next(specifier, context) : { url, shortCircuit: true };
    },
    load(url, context, next) {
      const source = loadTypeScript(url);
      return source === null
        ? next(url, context)
        : { format: 'module', source, shortCircuit: true };
    },
  });
}

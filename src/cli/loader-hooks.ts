/** The hooks of loader.ts for a Node without `registerHooks`: they run in a thread of their own. */
import type { LoadHook, ResolveHook } from 'node:module';
import { resolveSpecifier } from './resolve-import.ts';
import { loadTypeScript } from './strip-types.ts';

export const resolve: ResolveHook = async (specifier, context, next) => {
  const url = resolveSpecifier(specifier, context.parentURL);
  return url === null ? next(specifier, context) : { url, shortCircuit: true };
};

export const load: LoadHook = async (url, context, next) => {
  const source = loadTypeScript(url);
  return source === null ? next(url, context) : { format: 'module', source, shortCircuit: true };
};

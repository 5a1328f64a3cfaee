/**
 * Starts the benchmarks from their TypeScript sources, on a Node that cannot strip types: nothing has to
 * be built, and profiles name the lines of src/.
 *
 *     node bench/start.js COMMAND …
 */
import { register } from 'node:module';

register(new URL('./typescript-hooks.js', import.meta.url));
await import('./main.ts');

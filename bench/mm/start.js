/**
 * Starts the benchmarks of the mm from their TypeScript sources, as bench/start.js does.
 *
 *     node bench/mm/start.js [NAME …] [--json]
 */
import { register } from 'node:module';

register(new URL('../typescript-hooks.js', import.meta.url));
await import('./main.ts');

/**
 * The benchmarks' command line.
 *
 *     node bench/start.js lockinc [N …] [--only NAME] [--seconds S]     see lockinc.ts
 */
import { parseArgs } from 'node:util';
import { quick } from './lockinc.ts';

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { only: { type: 'string' }, seconds: { type: 'string', default: '10' } },
  });
  const [family = 'lockinc', ...numbers] = positionals;
  await quick({
    family,
    counts: numbers.length === 0 ? [8, 9] : numbers.map(Number),
    only: values.only ?? null,
    seconds: Number(values.seconds),
  });
}

await main();

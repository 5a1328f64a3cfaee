/**
 * The benchmarks of the mm in direct mode.
 *
 *     node bench/mm/start.js [direct] [invalidate] [interval-tree] [--json]
 */
import { parseArgs } from 'node:util';
import { run as direct } from './direct.ts';
import { run as intervalTree } from './interval-tree.ts';
import { run as invalidate } from './invalidate.ts';
import { tableOf, type BenchResult } from './measure.ts';

const BENCHES: Readonly<
  Record<string, readonly [string, () => readonly BenchResult[] | Promise<readonly BenchResult[]>]>
> = {
  direct: ['Faults and mappings in direct mode', direct],
  invalidate: ['Invalidations: a start and an end, one notifier', invalidate],
  'interval-tree': ['Interval trees', intervalTree],
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
});
const names = positionals.length === 0 ? Object.keys(BENCHES) : positionals;
const all: Record<string, readonly BenchResult[]> = {};
for (const name of names) {
  const bench = BENCHES[name];
  if (bench === undefined) throw new Error(`there is no benchmark '${name}'`);
  const [title, run] = bench;
  all[name] = await run();
  if (!values.json) process.stdout.write(`${tableOf(title, all[name])}\n`);
}
if (values.json) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);

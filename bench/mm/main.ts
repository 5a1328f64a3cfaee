/**
 * The benchmarks of the mm in direct mode, a quick look; `npm run bench -- mm` writes them as a report.
 *
 *     node bench/mm/start.js [direct] [invalidate] [interval-tree] [--json]
 */
import { parseArgs } from 'node:util';
import { tableOf, type BenchResult } from './measure.ts';
import { MM_BENCHES } from './suite.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
});
const names = positionals.length === 0 ? MM_BENCHES.map(({ name }) => name) : positionals;
const all: Record<string, readonly BenchResult[]> = {};
for (const name of names) {
  const bench = MM_BENCHES.find((each) => each.name === name);
  if (bench === undefined) throw new Error(`there is no benchmark '${name}'`);
  const results = await bench.run({});
  all[name] = results;
  if (!values.json) process.stdout.write(`${tableOf(bench.title, results)}\n`);
}
if (values.json) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);

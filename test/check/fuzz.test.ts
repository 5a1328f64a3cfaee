/**
 * The explorer against plain enumeration, on random programs. The seed is fixed, so that a run in CI
 * says the same every time; MMULAB_FUZZ_SEED and MMULAB_FUZZ_COUNT set another, and how many
 * programs there are.
 */
import { expect, test } from 'vitest';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { fuzz, showFailure, showReport } from '../util/fuzz/run.ts';

const seed = Number(process.env['MMULAB_FUZZ_SEED'] ?? 1);
const count = Number(process.env['MMULAB_FUZZ_COUNT'] ?? 10_000);

test('no trace of a random program is missed, and none is executed twice', () => {
  process.stdout.write(`fuzz: seed ${seed}, ${count} programs\n`);
  const t = performance.now();
  const report = fuzz({ seed, count, Explorer: SourceDpor });
  process.stdout.write(`fuzz: ${showReport(report).replaceAll('\n', '\nfuzz: ')}\n`);
  process.stdout.write(`${performance.now() - t} ms\n`);
  expect(report.failure === null ? '' : showFailure(report.failure)).toBe('');
  expect(report.executions).toBe(report.traces);
});

/**
 * The fuzz run of a test file: every program explored by both explorers. The seed is fixed, so that a run
 * in CI says the same every time; MMULAB_FUZZ_SEED and MMULAB_FUZZ_COUNT set another, and how many
 * programs there are;
 * MMULAB_FUZZ_SIZE sets up to how many interleavings each may have.
 */
import { expect } from 'vitest';
import type { Node } from '../../../src/check/search-node.ts';
import { SourceDpor } from '../../../src/check/source-dpor.ts';
import type { Family } from './generate.ts';
import { fuzz, showFailure, showReport } from './run.ts';
import { WatchedDpor } from './watched.ts';

const seed = Number(process.env['MMULAB_FUZZ_SEED'] ?? 1);
const count = Number(process.env['MMULAB_FUZZ_COUNT'] ?? 10_000);
/** Most of the time goes into enumerating the large ones. */
const sizeMax = Number(process.env['MMULAB_FUZZ_SIZE'] ?? 700);

/** How often a race was found of which no task could begin the other order. */
let helplessCount = 0;

class WatchedSource extends SourceDpor {
  protected override initials(
    group: readonly number[],
    at: number,
    task: number,
    node: Node,
    row: Int32Array,
  ): number {
    const found = super.initials(group, at, task, node, row);
    const target = this.nodes[Math.min(...group)] as Node;
    if ((found & target.enabled) === 0) helplessCount += 1;
    return found;
  }
}

/**
 * Every trace must be executed once by each explorer, and come to the end that it has by definition; and
 * no run may be abandoned where it was always known what a step would touch.
 *
 * @param file the test file, for the line that repeats a failure.
 */
export function fuzzBoth(file: string, family: Family): void {
  process.stdout.write(`fuzz: seed ${seed}, ${count} programs\n`);
  const report = fuzz({ seed, count, explorers: [WatchedDpor, WatchedSource], family, sizeMax });
  process.stdout.write(`fuzz: ${showReport(report).replaceAll('\n', '\nfuzz: ')}\n`);
  expect(report.failure === null ? '' : showFailure(report.failure, file)).toBe('');
  expect(report.executions).toEqual([report.traces, report.traces]);
  process.stdout.write(
    `fuzz: ${helplessCount} races of which no initial could begin the other order\n`,
  );
}

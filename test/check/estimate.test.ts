import { describe, expect, it, test } from 'vitest';
import { findScenario } from '../../src/catalogue/index.ts';
import { RemainingEstimate, type Band, type BranchCounts } from '../../src/check/estimate.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';

function newCounts(): BranchCounts {
  return { length: 0, done: [], pending: [] };
}

/** The bands that a search would have shown, had it been asked after every `every` executions. */
function bandsOf(
  name: string,
  every: number,
  Explorer: typeof SourceDpor | typeof OptimalDpor = OptimalDpor,
): Band[] {
  const estimate = new RemainingEstimate();
  const counts = newCounts();
  const bands: Band[] = [];
  let executions = 0;
  const explorer = new Explorer(programOf(findScenario(name) as AnyScenario, 'sc'), {
    onExecution: () => {
      executions += 1;
      if (executions % every !== 0) return false;
      explorer.branchCounts(counts);
      bands.push(estimate.remaining(executions, counts));
      return false;
    },
  });
  explorer.run();
  return bands;
}

/** With how many executions each has. */
const PROGRAMS = [
  ['program/lockinc-5', 120],
  ['program/lockinc-6', 720],
  ['program/lockinc-7', 5040],
  ['program/ainc-5', 120],
  ['program/ainc-7', 5040],
  ['program/readers-5', 32],
  ['program/readers-8', 256],
  ['program/lastzero-5', 64],
  ['program/indexer-12', 8],
  ['program/filesystem-18', 32],
  ['program/refcount-2', 26],
  ['program/refcount-3', 522],
] as const;

/** At which of 36 moments the truth is not in the band; and how wide the band is, as a rule. */
function judge(Explorer: typeof SourceDpor | typeof OptimalDpor): [string[], number] {
  const misses: string[] = [];
  const widths: number[] = [];
  for (const [name, total] of PROGRAMS) {
    const every = Math.max(1, Math.floor(total / 200));
    const bands = bandsOf(name, every, Explorer);
    for (const percent of [10, 50, 90]) {
      const at = Math.max(1, Math.round((total * percent) / 100 / every));
      const { low, high } = bands[at - 1] as Band;
      const truth = total - at * every;
      if (low > truth || truth > high) misses.push(`${name} at ${percent} %`);
      if (low > 0) widths.push(high / low);
    }
  }
  const width = widths.toSorted((x, y) => x - y)[Math.floor(widths.length / 2)];
  return [misses, width ?? 0];
}

test('at 10, 50 and 90 % of a search the band has the truth in it, at 32 of 36 moments', () => {
  const [misses, width] = judge(OptimalDpor);
  expect(misses).toMatchInlineSnapshot(`
    [
      "program/readers-5 at 10 %",
      "program/readers-5 at 90 %",
      "program/readers-8 at 50 %",
      "program/readers-8 at 90 %",
    ]
  `);
  expect(width).toBeLessThan(15);
});

test('so it does for Source-DPOR, at 33 of 36 moments', () => {
  // Readers' later branches are far smaller than the first.
  const [misses, width] = judge(SourceDpor);
  expect(misses).toEqual([
    'program/readers-5 at 90 %',
    'program/readers-8 at 50 %',
    'program/readers-8 at 90 %',
  ]);
  expect(width).toBeLessThan(15);
});

describe('the band', () => {
  it('is nothing when nothing is pending', () => {
    const counts = { length: 2, done: [1, 0], pending: [0, 0] };
    expect(new RemainingEstimate().remaining(2, counts)).toEqual({ low: 0, high: 0 });
  });

  it('is unknown before the first execution', () => {
    expect(new RemainingEstimate().remaining(0, newCounts())).toEqual({ low: 0, high: Infinity });
  });

  it('is never below a part of what is known to be pending', () => {
    const counts = { length: 3, done: [0, 0, 0], pending: [3, 3, 3] };
    const { low, high } = new RemainingEstimate().remaining(1, counts);
    expect(low).toBeGreaterThanOrEqual(3);
    expect(high).toBeGreaterThanOrEqual(63);
  });

  it('ends at nothing', () => {
    for (const [name, total] of PROGRAMS.slice(0, 3)) {
      expect(bandsOf(name, total)).toEqual([{ low: 0, high: 0 }]);
    }
  });

  it('is around what is left when all branches are of one size and known', () => {
    const bands = bandsOf('program/filesystem-18', 1);
    for (const [at, { low, high }] of bands.slice(4, -1).entries()) {
      const left = 32 - 5 - at;
      expect(low).toBeLessThanOrEqual(left);
      expect(high).toBeGreaterThanOrEqual(left);
      expect(high).toBeLessThanOrEqual(left * 3);
    }
  });
});

test('branch counts are those of the present execution', () => {
  const counts = newCounts();
  const seen: string[] = [];
  const explorer = new SourceDpor(
    programOf(findScenario('program/lockinc-3') as AnyScenario, 'sc'),
    {
      onExecution: () => {
        explorer.branchCounts(counts);
        const { length } = counts;
        const steps = Array.from({ length }, (_, at) => `${counts.done[at]}+${counts.pending[at]}`);
        seen.push(steps.join(' '));
        return false;
      },
    },
  );
  explorer.run();
  expect(seen).toMatchInlineSnapshot(`
    [
      "0+1 0+0 0+1 0+0 0+0 0+0",
      "0+2 0+0 1+0 0+0 0+0 0+0",
      "1+1 0+0 0+1 0+0 0+0 0+0",
      "1+1 0+0 1+0 0+0 0+0 0+0",
      "2+0 0+0 0+1 0+0 0+0 0+0",
      "2+0 0+0 1+0 0+0 0+0 0+0",
    ]
  `);
});

/**
 * Searches that are taken to pieces, against plain enumeration: random programs, explored by several, in
 * shards, and from what was saved after every execution.
 */
import { describe, expect, test } from 'vitest';
import type { Explorer, ExploreOptions } from '../../src/check/exploration.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import type { Program } from '../../src/check/program.ts';
import { generateProgram, LOCKING, STARTING, STUCK, WAITING } from '../util/fuzz/generate.ts';
import { Misuse } from '../util/fuzz/kind/kind.ts';
import { enumerate } from '../util/fuzz/compare.ts';
import { MEMORY_NAME, onKernel } from '../util/fuzz/program.ts';
import { fuzz, showFailure, showReport } from '../util/fuzz/run.ts';
import { WatchedDpor } from '../util/fuzz/watched.ts';
import {
  LossyTeamDpor,
  ResumedDpor,
  ResumedTeamDpor,
  ShardedDpor,
  TeamDpor,
} from '../util/parts.ts';

const COUNT = Number(process.env['MMULAB_PARTS_COUNT'] ?? 60);
const SEED = Number(process.env['MMULAB_FUZZ_SEED'] ?? 1);

describe.each([
  ['locks', LOCKING],
  ['tasks that wait', WAITING],
  ['tasks that start others', STARTING],
  ['tasks that get stuck', STUCK],
])('random programs of %s', (_, family) => {
  test('in pieces, each trace is executed once', { timeout: 900_000 }, () => {
    const explorers = [WatchedDpor, ResumedDpor, TeamDpor, ShardedDpor];
    const report = fuzz({ seed: SEED, count: COUNT, explorers, family, sizeMax: 500 });
    process.stdout.write(`parts: ${showReport(report).replaceAll('\n', '\nparts: ')}\n`);
    const { failure } = report;
    expect(failure === null ? '' : showFailure(failure, 'test/check/parts.test.ts')).toBe('');
    expect(report.executions).toEqual(explorers.map(() => report.traces));
    // Saving and going on changes nothing at all.
    expect(report.blocked[1]).toBe(report.blocked[0]);
  });

  test('what is done again after a loss counts once', { timeout: 900_000 }, () => {
    for (let seed = SEED; seed < SEED + COUNT; seed += 1) {
      const generated = generateProgram(seed, family);
      try {
        if (enumerate(generated, 500) === null) continue;
      } catch (error) {
        if (error instanceof Misuse) continue;
        throw error;
      }
      const { program, watch } = onKernel(generated);
      const options = {
        stepCountMax: 100,
        watches: [watch],
        ...(generated.isVisible ? { visibleMemory: new Set([MEMORY_NAME]) } : {}),
      };
      const whole = totalsOf(OptimalDpor, program, options);
      expect(totalsOf(LossyTeamDpor, program, options), `seed ${seed}`).toEqual(whole);
      expect(totalsOf(ResumedTeamDpor, program, options), `seed ${seed}`).toEqual(whole);
    }
  });
});

type ExplorerClass = new (program: Program, options: ExploreOptions) => Explorer;

function totalsOf(Class: ExplorerClass, program: Program, options: ExploreOptions): object {
  const { executions, isComplete } = new Class(program, options).run();
  return { executions, isComplete };
}

/**
 * Counterexamples of random programs, made as easy as they can be, against what is easiest of all
 * executions; and that whatever is shown replays. Those of the catalogue are replayed where they are found, in
 * test/catalogue/expectations.ts.
 */
import { expect, test } from 'vitest';
import { allDetectors } from '../../src/check/detector/index.ts';
import { minimise, type Minimal } from '../../src/check/minimise.ts';
import { identityOf, shorten, type Counterexample } from '../../src/check/shorten.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import type { Effort } from '../../src/check/trial.ts';
import { bugOn } from '../../src/kernel/assertion.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { leastEfforts } from '../util/every-execution.ts';
import { generateProgram } from '../util/fuzz/generate.ts';
import { MEMORY_NAME, onKernel, showProgram, type FuzzProgram } from '../util/fuzz/program.ts';
import { replayed } from '../util/replayed.ts';
import { check } from './small-scenario.ts';

/** One counterexample for each finding of the program, as a search keeps it, made easy. */
function minimised(program: FuzzProgram): Minimal[] {
  const bench = { program: onKernel(program).program, watches: allDetectors() };
  const found = new Map<string, Counterexample>();
  const visibleMemory = new Set(program.isVisible ? [MEMORY_NAME] : []);
  new SourceDpor(onKernel(program).program, {
    watches: allDetectors(),
    ...(program.isVisible ? { visibleMemory } : {}),
    onExecution(run) {
      for (const finding of run.kernel.findings) {
        const identity = identityOf(finding);
        // Those of lockdep rest on other executions, and are left as they are.
        if (found.has(identity) || finding.locking !== null) continue;
        const short = shorten(run, finding, bench);
        if (short !== null) found.set(identity, short);
      }
      return false;
    },
  }).run();
  return minimise([...found.values()], bench, { visibleMemory });
}

test(
  'random programs are shown with the fewest preemptions, and nearly always as easy as they can be',
  { timeout: 300_000 },
  () => {
    const counts = { violations: 0, switches: 0, all: 0 };
    for (let seed = 1, programs = 0; programs < 100; seed += 1) {
      const program = generateProgram(seed);
      if (program.isVisible) continue;
      const least = leastEfforts(onKernel(program).program, allDetectors(), 500);
      if (least === null || least.size === 0) continue;
      programs += 1;
      for (const { counterexample, preemptions, isFewest } of minimised(program)) {
        const { finding, schedule, cost } = counterexample;
        const best = least.get(identityOf(finding)) as Effort;
        const where = `seed ${seed}: ${finding.message}\n${showProgram(program)}`;
        expect({ preemptions, isFewest }, where).toEqual({
          preemptions: best.preemptions,
          isFewest: true,
        });
        const tasks = new Set(schedule.tasks).size;
        counts.violations += 1;
        if (cost.switches > best.switches) continue;
        counts.switches += 1;
        if (tasks <= best.tasks && cost.steps <= best.steps) counts.all += 1;
      }
    }
    process.stdout.write(
      `minimise: of ${counts.violations} violations all with the fewest preemptions, ` +
        `${counts.switches} with the fewest changes, ${counts.all} the easiest in all\n`,
    );
    expect(counts.switches / counts.violations).toBeGreaterThan(0.98);
    expect(counts.all / counts.violations).toBeGreaterThan(0.95);
  },
);

test('every counterexample of random programs replays from its token', { timeout: 300_000 }, () => {
  let violations = 0;
  for (let seed = 1; violations < 300; seed += 1) {
    const program = generateProgram(seed);
    // Any but the largest will do.
    if (JSON.stringify(program.tasks).length > 6000) continue;
    for (const { counterexample } of minimised(program)) {
      violations += 1;
      const { finding, schedule } = counterexample;
      const where = `seed ${seed}: ${finding.message}\n${showProgram(program)}`;
      expect(replayed(onKernel(program).program, schedule), where).toContain(identityOf(finding));
    }
  }
});

test('a task that the violation does not need is left out', () => {
  const result = check(
    { x: 0, y: 0 },
    {
      *a(s) {
        yield* writeOnce(s, 'x', 1);
      },
      *bystander(s) {
        // It depends on what the others do, so it belongs to the past of what they do later.
        yield* readOnce(s, 'x');
        yield* writeOnce(s, 'y', 1);
      },
      *b(s) {
        yield* readOnce(s, 'y');
        bugOn((yield* readOnce(s, 'x')) === 1, 'x is set');
      },
    },
  );
  expect(result.violations.map(({ schedule }) => schedule.tasks)).toEqual([[0, 2, 2]]);
});

test('what is found needs as many preemptions as it says, which a task that has ended does not count', () => {
  const { violations } = check(
    { x: 0 },
    {
      *writer(s) {
        yield* writeOnce(s, 'x', 1);
        yield* writeOnce(s, 'x', 0);
      },
      *first(s) {
        bugOn((yield* readOnce(s, 'x')) === 1, 'x is set for a moment');
      },
      *second(s) {
        bugOn((yield* readOnce(s, 'x')) === 0, 'x is not set');
      },
    },
  );
  const shown = violations.map(({ places, preemptions, isFewest, switches, schedule }) => {
    return { place: places[0], preemptions, isFewest, switches, tasks: schedule.tasks };
  });
  expect(shown).toEqual([
    { place: 'second', preemptions: 0, isFewest: true, switches: 0, tasks: [2] },
    { place: 'first', preemptions: 1, isFewest: true, switches: 1, tasks: [0, 1] },
  ]);
});

/** What holds after any sequence of calls. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { program, World, type Step } from '../util/mm-programs.ts';

/** Runs a program and says what went wrong first, with the step. */
function firstProblem(steps: readonly Step[]): string {
  const world = new World();
  for (const [index, step] of steps.entries()) {
    const problems = world.step(step);
    if (problems.length > 0) return `after step ${index}: ${problems.join('; ')}`;
  }
  return world.end().join('; ');
}

test('mappings, page tables, TLBs, counters and a secondary MMU agree after every call', () => {
  fc.assert(
    fc.property(program, (steps) => {
      expect(firstProblem(steps)).toBe('');
    }),
    { numRuns: Number(process.env['MMULAB_RUNS'] ?? 300), seed: 1 },
  );
});

/**
 * Random small programs of waits, completions, work items, timers, interrupts, files and modules: the
 * explorer against all interleavings. FUZZ_SEED and FUZZ_COUNT choose others.
 */
import { expect, test } from 'vitest';
import { faultOf, generate, KINDS, shrink } from '../util/deferred-programs.ts';

test.each(Object.keys(KINDS))('each trace of random programs is executed once: %s', (kind) => {
  const first = Number(process.env['FUZZ_SEED'] ?? 1);
  const count = Number(process.env['FUZZ_COUNT'] ?? 12);
  for (let seed = first; seed < first + count; seed += 1) {
    const plan = generate(kind, seed);
    if (faultOf(plan) === null) continue;
    const smallest = shrink(plan);
    expect(faultOf(smallest), `seed ${seed}: ${JSON.stringify(smallest)}`).toBeNull();
  }
});

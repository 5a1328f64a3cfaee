/** The hash of a trace against its definition, on random programs. */
import { expect, test } from 'vitest';
import type { Program, Schedule } from '../../../src/check/program.ts';
import { Sampling } from '../../../src/check/sampler/sampling.ts';
import { SourceDpor } from '../../../src/check/source-dpor.ts';
import { traceKey } from '../../util/brute-force.ts';
import { generateProgram } from '../../util/fuzz/generate.ts';
import { onKernel } from '../../util/fuzz/program.ts';

const PROGRAMS = 400;
const SAMPLES = 40;

interface Sampled {
  readonly traces: number;
  readonly schedules: readonly Schedule[];
  /** Different clocks of the whole trace are what `shorten` works with. */
  readonly lastClocks: readonly string[];
}

function sample(program: Program, seed: number): Sampled {
  const schedules: Schedule[] = [];
  const lastClocks: string[] = [];
  const sampling = new Sampling(
    program,
    { method: 'random', samples: SAMPLES, seed },
    {
      onExecution: (run) => {
        const { schedule } = run;
        schedules.push(schedule);
        const last = schedule.tasks.length - 1;
        const { length } = run.kernel.tasks;
        lastClocks.push(last < 0 ? '' : run.clockOf(last).slice(0, length).join(' '));
        return false;
      },
    },
  );
  sampling.run();
  return { traces: sampling.figures().traces, schedules, lastClocks };
}

test('executions have the same hash exactly if they are the same trace', () => {
  let traces = 0;
  for (let seed = 1; seed <= PROGRAMS; seed += 1) {
    const { program } = onKernel(generateProgram(seed));
    const { traces: counted, schedules } = sample(program, seed);
    const keys = new Set(schedules.map((schedule) => traceKey(program, schedule)));
    expect([seed, counted]).toEqual([seed, keys.size]);
    traces += counted;
  }
  // Not all of them have one trace only.
  expect(traces).toBeGreaterThan(3 * PROGRAMS);
});

test('the clocks are those of the explorer', () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const { program } = onKernel(generateProgram(seed));
    const known = new Map<string, string>();
    new SourceDpor(program, {
      onExecution: (run) => {
        const { tasks, outcomes } = run.schedule;
        const row = run.clockOf(tasks.length - 1).slice(0, run.kernel.tasks.length);
        if (tasks.length > 0) known.set(`${tasks.join()} ${outcomes.join()}`, row.join(' '));
        return false;
      },
    }).run();
    const { schedules, lastClocks } = sample(program, seed);
    for (const [at, { tasks, outcomes }] of schedules.entries()) {
      const clock = known.get(`${tasks.join()} ${outcomes.join()}`);
      if (clock !== undefined) expect(lastClocks[at]).toBe(clock);
    }
  }
});

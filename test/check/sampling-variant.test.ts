import { describe, expect, it } from 'vitest';
import { findScenario } from '../../src/catalogue/index.ts';
import { checkVariant, type Progress } from '../../src/check/check-variant.ts';
import { replay } from '../../src/check/replay.ts';
import { SAMPLER_NAMES } from '../../src/check/sampler/sampler.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { goal } from '../../src/kernel/choose.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { mutex, mutexLock, mutexTrylock, mutexUnlock, type Mutex } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import type { Instance } from '../../src/kernel/struct.ts';
import { scenarioOf } from './small-scenario.ts';

const fields = { x: 0 };
type Shared = Instance<typeof fields>;

/** Takes `first`, tries `second`, and gives way politely. */
function* politely(first: Mutex, second: Mutex): Body<void> {
  for (;;) {
    yield* mutexLock(first);
    if (yield* mutexTrylock(second)) break;
    yield* mutexUnlock(first);
  }
  yield* mutexUnlock(second);
  yield* mutexUnlock(first);
}

function named(name: string): AnyScenario {
  return findScenario(name) as AnyScenario;
}

describe('sampling a variant', () => {
  it.each(SAMPLER_NAMES)('never is clean, whatever %s has seen', (method) => {
    const result = checkVariant(named('program/lockinc-3'), 'sc', {
      sampling: { method, samples: 500, seed: 1 },
    });
    expect(result).toMatchObject({
      verdict: 'bounded',
      complete: false,
      asExpected: false,
      bound: { kind: 'samples', limit: 500, isRequested: true },
      executions: 500,
      blocked: 0,
      sampling: { method, samples: 500, seed: 1, traces: 6, isExact: true, cut: 0 },
    });
    expect(result.sampling?.depth).toBe(method === 'pct' ? 3 : null);
  });

  it.each(SAMPLER_NAMES)('with %s finds a deadlock, shortened as a search does', (method) => {
    const scenario = named('program/ab-ba');
    const options = { sampling: { method, samples: 500, seed: 1 } };
    const sampled = checkVariant(scenario, 'sc', options);
    const explored = checkVariant(scenario, 'sc');
    expect(sampled.verdict).toBe('violation');
    expect(sampled.violations.map(({ kind, object }) => [kind, object])).toEqual(
      explored.violations.map(({ kind, object }) => [kind, object]),
    );
    for (const { schedule, message } of sampled.violations) {
      const { kernel } = replay(programOf(scenario, 'sc'), schedule, { watches: allDetectors() });
      expect(kernel.findings.map((finding) => finding.message)).toContain(message);
    }
  });

  it('finds the bug of patch 9, which needs an allocation to fail', () => {
    const result = checkVariant(named('kfd-unregister'), 'v5.3', {
      sampling: { method: 'pos', samples: 500, seed: 1 },
    });
    expect(result).toMatchObject({ verdict: 'violation', asExpected: true });
    expect(result.violations[0]).toMatchObject({ kind: 'use-after-free', object: 'kfd_process' });
  });

  it('starts over with visible memory when there is a data race', () => {
    const scenario = scenarioOf(
      { x: 0 },
      {
        *a(s) {
          yield* readOnce(s, 'x');
          s.x = 1;
        },
        *b(s) {
          yield* readOnce(s, 'x');
          s.x = 2;
        },
      },
    );
    const options = { sampling: { method: 'random', samples: 300, seed: 1 } } as const;
    const result = checkVariant(scenario, 'v', options);
    expect(result.violations.map(({ kind }) => kind)).toContain('data-race');
    expect(result).toMatchObject({ executions: 300, bound: { kind: 'samples' } });
    // The plain code is a step of its own then; that the reads alone are is one trace.
    expect(result.sampling?.traces).toBe(4);
  });

  it('looks for a livelock where a sample does not end', () => {
    const scenario = scenarioOf(
      { a: mutex(), b: mutex() },
      {
        one: (s) => politely(s.a, s.b),
        other: (s) => politely(s.b, s.a),
      },
    );
    const result = checkVariant(scenario, 'v', {
      sampling: { method: 'random', samples: 300, seed: 1 },
      stepCountMax: 20,
    });
    expect(result.sampling?.cut).toBeGreaterThan(0);
    expect(result.sampling?.cut).toBeLessThan(300);
    expect(result.violations.map(({ kind }) => kind)).toContain('livelock');
    expect(result).toMatchObject({ executions: 300, bound: { kind: 'samples' } });
  });

  it('ends at the first violation if asked, and at any other bound', () => {
    const sampling = { method: 'random', samples: 500, seed: 1 } as const;
    const first = checkVariant(named('program/ab-ba'), 'sc', { sampling, bail: true });
    expect(first.bound).toMatchObject({ kind: 'first-violation' });
    expect(first.executions).toBeLessThan(500);
    const bound = { kind: 'time', limit: 1, isRequested: true } as const;
    const timed = checkVariant(named('program/lockinc-3'), 'sc', {
      sampling,
      boundReached: ({ executions }) => (executions === 7 ? bound : null),
    });
    expect(timed).toMatchObject({ bound, executions: 7, sampling: { traces: expect.any(Number) } });
  });

  it('knows exactly how many executions are left', () => {
    const seen: [number, unknown][] = [];
    checkVariant(named('program/lockinc-3'), 'sc', {
      sampling: { method: 'pos', samples: 3, seed: 1 },
      boundReached: (progress: Progress) => {
        seen.push([progress.executions, progress.estimate()]);
        return null;
      },
    });
    expect(seen).toEqual([
      [1, { low: 2, high: 2 }],
      [2, { low: 1, high: 1 }],
      [3, { low: 0, high: 0 }],
    ]);
  });
});

describe('progress of a search', () => {
  it('tells executions, depth and an estimate that bounds cut', () => {
    let last: unknown = null;
    checkVariant(named('program/lockinc-5'), 'sc', {
      executionCountMax: 50,
      boundReached: (progress) => {
        const { executions, depth, violations } = progress;
        const { low, high } = progress.estimate();
        expect(low).toBeLessThanOrEqual(high);
        expect(high).toBeLessThanOrEqual(50 - executions);
        last = { executions, depth, violations };
        return null;
      },
    });
    expect(last).toEqual({ executions: 50, depth: 10, violations: 0 });
  });
});

function* write(s: Shared) {
  yield* writeOnce(s, 'x', 1);
}

function* read(s: Shared) {
  if ((yield* readOnce(s, 'x')) === 1) goal('one');
}

describe('an example', () => {
  it('of what was executed comes with a vacuous result: the one that reached most goals', () => {
    const scenario = scenarioOf(fields, { read, write }, { goals: ['one', 'moon'] });
    const result = checkVariant(scenario, 'v');
    expect(result.verdict).toBe('vacuous');
    const { example } = result;
    if (example === undefined) throw new Error('no example');
    const { kernel } = replay(programOf(scenario, 'v'), example);
    expect([...kernel.goals]).toEqual(['one']);
  });

  it('does not come where all goals were reached', () => {
    const result = checkVariant(scenarioOf(fields, { read, write }, { goals: ['one'] }), 'v');
    expect(result.verdict).toBe('clean');
    expect(result).not.toHaveProperty('example');
    expect(result).not.toHaveProperty('sampling');
  });
});

import { describe, expect, test } from 'vitest';
import { UsageError } from '../../src/base/usage-error.ts';
import { findProgram, PROGRAMS } from '../../src/catalogue/program/index.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { SourceDpor, type ExploreResult } from '../../src/check/source-dpor.ts';

interface Exploration extends ExploreResult {
  readonly goals: readonly string[];
  readonly deadlocks: number;
  readonly findings: readonly string[];
}

function explore(name: string): Exploration {
  const scenario = findProgram(name) as AnyScenario;
  const goals = new Set<string>();
  const findings = new Set<string>();
  let deadlocks = 0;
  const result = new SourceDpor(programOf(scenario, 'sc'), {
    watches: [
      {
        onStuck: () => {
          deadlocks += 1;
        },
        onAssertion: (_kernel, grade, condition) => findings.add(`${grade}(${condition})`),
        onLockMisuse: (_kernel, lock, what) => findings.add(`${lock}: ${what}`),
      },
    ],
    onExecution: ({ kernel }) => {
      for (const goal of kernel.goals) goals.add(goal);
      return false;
    },
  }).run();
  return { ...result, goals: [...goals].toSorted(), deadlocks, findings: [...findings] };
}

describe('outcomes', () => {
  test('the reader of probe reads 0 in one trace and 1 in the other', () => {
    const found = explore('program/probe');
    expect(found.executions).toBe(2);
    expect(found.goals).toEqual(['r is 0', 'r is 1']);
  });

  test('lost-update loses an update in some of its 4 traces and none in others', () => {
    const found = explore('program/lost-update');
    expect(found.executions).toBe(4);
    expect(found.goals).toEqual(['x is 1', 'x is 2']);
  });

  test('store-buffering has three outcomes, and both reading 0 is not one of them', () => {
    const found = explore('program/store-buffering');
    expect(found.executions).toBe(3);
    expect(found.goals).toEqual(['a is 0, b is 1', 'a is 1, b is 0', 'a is 1, b is 1']);
    expect(found.findings).toEqual([]);
  });

  test('one of the three traces of ab-ba is a deadlock', () => {
    const found = explore('program/ab-ba');
    expect(found.executions).toBe(3);
    expect(found.deadlocks).toBe(1);
  });
});

/** The numbers from `first` to `last`. */
function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}

/** The numbers of tasks with which each program is explored. */
const SIZES: Readonly<Record<string, readonly number[]>> = {
  'program/lockinc': range(2, 9),
  'program/ainc': range(2, 7),
  'program/ainc-void': range(2, 7),
  'program/readers': [...range(2, 8), 13],
  'program/lastzero': [5, 10, 15],
  'program/indexer': [11, 12, 15],
  'program/filesystem': range(13, 18),
  'program/refcount': range(1, 4),
};

describe('exact numbers of traces', () => {
  for (const { name, counts, traces } of PROGRAMS) {
    for (const count of counts === null ? [0] : (SIZES[name] ?? [])) {
      const full = counts === null ? name : `${name}-${count}`;
      test(`${full} is executed once for each of its ${traces[count]} traces, and no run abandoned`, () => {
        const explorer = new OptimalDpor(programOf(findProgram(full) as AnyScenario, 'sc'));
        const { executions, blocked, isComplete } = explorer.run();
        expect({ executions, blocked, isComplete }).toEqual({
          executions: traces[count],
          blocked: 0,
          isComplete: true,
        });
        expect(explorer.plannedCountMax).toBeLessThanOrEqual(explorer.plannedLimit);
      }, 120_000);
    }
  }
});

describe('exact numbers of traces without wakeup trees', () => {
  const explored: Record<string, readonly number[]> = {
    ...SIZES,
    'program/lockinc': range(2, 7),
    'program/readers': range(2, 8),
    'program/lastzero': [5],
    'program/refcount': range(1, 3),
  };
  /** Source-DPOR repeats prefixes only where writers race with writers. */
  const repeats = new Set(['program/lastzero']);

  for (const { name, counts, traces } of PROGRAMS) {
    for (const count of counts === null ? [0] : (explored[name] ?? [])) {
      const full = counts === null ? name : `${name}-${count}`;
      test(`${full} is executed once for each of its ${traces[count]} traces`, () => {
        const found = explore(full);
        expect(found.executions).toBe(traces[count]);
        expect(found.isComplete).toBe(true);
        expect(found.findings).toEqual([]);
        if (!repeats.has(name)) expect(found.blocked).toBe(0);
      });
    }
  }
});

describe('names', () => {
  test('every program has its own name, and is found under it', () => {
    for (const { name, counts } of PROGRAMS) {
      const full = counts === null ? name : `${name}-${counts.min}`;
      expect(findProgram(full)?.name).toBe(full);
    }
    expect(new Set(PROGRAMS.map(({ name }) => name)).size).toBe(PROGRAMS.length);
  });

  test('a name that only begins like a program is not one', () => {
    for (const name of [
      'program/prob',
      'probe',
      'program/lockinc',
      'program/lockinc-',
      'program/',
    ]) {
      expect(findProgram(name)).toBeNull();
    }
    expect(findProgram('program/ainc-void')).toBeNull();
    expect(findProgram('program/lockinc-2x')).toBeNull();
  });

  test('a number beyond the limit is answered with the limit', () => {
    expect(() => findProgram('program/lockinc-32')).toThrow(UsageError);
    expect(() => findProgram('program/filesystem-27')).toThrow('goes from 1 to 26');
    expect(() => findProgram('program/readers-0')).toThrow('goes from 1 to 30');
  });

  test('the largest of each family can be started', () => {
    for (const { name, counts } of PROGRAMS) {
      const full = counts === null ? name : `${name}-${counts.max}`;
      const program = programOf(findProgram(full) as AnyScenario, 'sc');
      const kernel = program.start([], null);
      expect(kernel.tasks.every((task) => task.pending !== null)).toBe(true);
    }
  });
});

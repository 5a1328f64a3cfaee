/**
 * Interchangeable tasks: what is found must be what a full search finds, up to their names, and with
 * fewer executions. Random bodies, the same for all tasks, on one shared struct.
 */
import { array, assert, constantFrom, integer, property } from 'fast-check';
import { expect, test } from 'vitest';
import { lockinc } from '../../src/catalogue/program/lockinc.ts';
import { lostUpdate } from '../../src/catalogue/program/lost-update.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import { programOf, type Scenario } from '../../src/check/scenario.ts';
import { scenarioProblem } from '../../src/cli/scenario-problem.ts';
import { atomic, atomicFetchAdd, atomicInc, atomicRead } from '../../src/kernel/atomic.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { Kernel } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexTrylock, mutexUnlock } from '../../src/kernel/mutex.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { verdictText } from '../../src/report/text.ts';
import { bruteForce } from '../util/brute-force.ts';

const Shared = struct('s', { lock: mutex(), count: atomic(0), x: 0 });
type Shared = InstanceOf<typeof Shared>;
type Code = 'lock' | 'unlock' | 'trylock' | 'read' | 'write' | 'inc' | 'add' | 'get';

const CODES: readonly Code[] = ['lock', 'unlock', 'trylock', 'read', 'write', 'inc', 'add', 'get'];

/** The tasks' results, by task; made anew in set-up. */
interface State {
  readonly shared: Shared;
  readonly seen: string[];
}

function scenarioOf(code: readonly Code[], count: number, isSymmetric: boolean) {
  function* run({ shared: s, seen }: State) {
    let isLocked = false;
    let text = '';
    for (const step of code) {
      if (step === 'lock' && !isLocked) {
        yield* mutexLock(s.lock);
        isLocked = true;
      } else if (step === 'trylock' && !isLocked) {
        isLocked = yield* mutexTrylock(s.lock);
        text += isLocked ? 'L' : 'l';
      } else if (step === 'unlock' && isLocked) {
        yield* mutexUnlock(s.lock);
        isLocked = false;
      } else if (step === 'read') text += String(yield* readOnce(s, 'x'));
      else if (step === 'write') yield* writeOnce(s, 'x', text.length + 1);
      else if (step === 'inc') yield* atomicInc(s.count);
      else if (step === 'add') text += String(yield* atomicFetchAdd(s.count, 1));
      else if (step === 'get') text += String(yield* atomicRead(s.count));
    }
    if (isLocked) yield* mutexUnlock(s.lock);
    seen.push(text);
  }
  const names = Array.from({ length: count }, (_, at) => `t${at}`);
  let state: State;
  const scenario: Scenario<Kernel, State> = {
    name: 'same',
    variants: { v: {} },
    boot: (options) => new Kernel(options),
    setup: (kernel) => (state = { shared: allocateStatic(kernel, Shared), seen: [] }),
    tasks: Object.fromEntries(names.map((name) => [name, { run }])),
    ...(isSymmetric ? { interchangeable: [names] } : {}),
  };
  return { scenario, end: () => `${[...state.seen].toSorted().join(',')} x=${state.shared.x}` };
}

function endsOf(code: readonly Code[], count: number, isSymmetric: boolean) {
  const { scenario, end } = scenarioOf(code, count, isSymmetric);
  const ends = new Set<string>();
  const program = programOf(scenario, 'v');
  const { executions } = new OptimalDpor(program, {
    onExecution: ({ kernel }) => {
      kernel.currentTask = kernel.ownTask;
      ends.add(end());
      return false;
    },
  }).run();
  return { executions, ends: [...ends].toSorted(), program };
}

test('random tasks that do the same come to the same ends, in no more executions', () => {
  assert(
    property(
      array(constantFrom(...CODES), { minLength: 1, maxLength: 4 }),
      integer({ min: 2, max: 3 }),
      (code, count) => {
        const whole = endsOf(code, count, false);
        const part = endsOf(code, count, true);
        expect(part.ends).toEqual(whole.ends);
        expect(part.executions).toBeLessThanOrEqual(whole.executions);
      },
    ),
    { seed: 7, numRuns: 300 },
  );
});

test('the order of beginnings is declared rightly: each trace that is left is executed once', () => {
  for (const code of [
    ['lock', 'inc', 'add'],
    ['trylock', 'read', 'write'],
    ['add', 'get'],
  ] as const) {
    const { executions, program } = endsOf(code, 2, true);
    const all = bruteForce(program);
    expect(all.faults).toEqual([]);
    expect(executions).toBe(all.traces.size);
  }
});

test('nine tasks that lock and increment need one execution instead of 362,880', () => {
  const scenario = lockinc(9);
  const interchangeable = [Object.keys(scenario.tasks)];
  const program = programOf({ ...scenario, interchangeable }, 'sc');
  expect(new OptimalDpor(program).run().executions).toBe(1);
});

function groups(interchangeable: unknown): string | null {
  return scenarioProblem({ ...lostUpdate, interchangeable });
}

test('tasks that are not the same, or not there, are refused', () => {
  const [one, other] = Object.keys(lostUpdate.tasks) as [string, string];
  expect(groups([[one, other]])).toBeNull();
  expect(groups([[one, 'nobody']])).toContain(`'nobody', which is no task`);
  expect(groups([[one, one]])).toContain('twice');
  expect(groups('all')).toContain('a list of lists');
  const tasks = { ...lostUpdate.tasks, third: { *run() {} } };
  expect(scenarioProblem({ ...lostUpdate, tasks, interchangeable: [[one, 'third']] })).toContain(
    'not interchangeable',
  );
});

test('a verdict says up to exchanging whom it holds', () => {
  const scenario = lockinc(3);
  const names = Object.keys(scenario.tasks);
  const result = checkVariant({ ...scenario, interchangeable: [names] }, 'sc');
  expect(result.executions).toBe(1);
  expect(verdictText(result)).toContain(`up to exchanging ${names.join(', ')}`);
});

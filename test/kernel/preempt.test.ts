import { expect, test } from 'vitest';
import { mightSleep } from '../../src/kernel/assertion.ts';
import {
  localIrqDisable,
  localIrqEnable,
  localIrqRestore,
  localIrqSave,
  preemptDisable,
  preemptEnable,
} from '../../src/kernel/preempt.ts';
import { current } from '../../src/kernel/running.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { same, small } from '../util/programs.ts';

function* section() {
  yield* preemptDisable();
  yield* preemptEnable();
}

test('sections of tasks that share a CPU have an order, others have none', () => {
  expectTraces(small({}, same(3, section), { cpus: { t0: 0, t1: 0, t2: 0 } }), 6);
  expectTraces(small({}, same(3, section), { cpus: { t0: 0, t1: 0, t2: 1 } }), 2);
  expectTraces(small({}, same(3, section)), 1);
});

test('preemption is off until it was turned on as often as off', () => {
  const reasons: (string | null)[] = [];
  const note = (): void => void reasons.push(current().atomicReason());
  const program = small(
    {},
    {
      *one() {
        yield* preemptDisable();
        yield* preemptDisable();
        yield* preemptEnable();
        note();
        yield* preemptEnable();
        note();
      },
    },
  );
  expect(outcomes(program)).toEqual(['nothing']);
  expect(reasons).toEqual(['with preemption off', null]);
});

test('preemption that is turned on too often is a finding', () => {
  const program = small(
    {},
    {
      *one() {
        yield* preemptEnable();
      },
    },
  );
  expect(outcomes(program)).toEqual(['lock-misuse: preemption was turned on more often than off']);
});

test('interrupts are on after the first local_irq_enable, and as before after a restore', () => {
  const reasons: (string | null)[] = [];
  const note = (): void => void reasons.push(current().atomicReason());
  const program = small(
    {},
    {
      *one() {
        const outer = yield* localIrqSave();
        const inner = yield* localIrqSave();
        yield* localIrqRestore(inner);
        note();
        yield* localIrqRestore(outer);
        note();
        yield* localIrqDisable();
        yield* localIrqDisable();
        yield* localIrqEnable();
        note();
      },
    },
  );
  expect(outcomes(program)).toEqual(['nothing']);
  expect(reasons).toEqual(['with interrupts off', null, null]);
});

test('a task must not sleep with interrupts off', () => {
  const program = small(
    {},
    {
      *one() {
        yield* localIrqDisable();
        mightSleep();
        yield* localIrqEnable();
        mightSleep();
      },
    },
  );
  expect(outcomes(program)).toEqual(['sleeping-in-atomic: with interrupts off']);
});

test('turning preemption off inside a section with interrupts off does not end the exclusion', () => {
  const program = small(
    {},
    {
      *one() {
        yield* localIrqDisable();
        yield* section();
        yield* localIrqEnable();
      },
      two: section,
    },
    { cpus: { one: 0, two: 0 } },
  );
  expectTraces(program, 2);
});

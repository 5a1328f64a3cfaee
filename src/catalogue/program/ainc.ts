/** `count` tasks increment an atomic counter and are told its value: count! traces. */
import { bugOn } from '../../kernel/assertion.ts';
import { atomic, atomicFetchAdd } from '../../kernel/atomic.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const Ainc = struct('ainc', { x: atomic(0) });

function* increment(s: InstanceOf<typeof Ainc>) {
  yield* atomicFetchAdd(s.x, 1);
}

export const ainc = (count: number) =>
  defineProgram({
    name: `program/ainc-${count}`,
    about: `${count} tasks increment an atomic counter and see its value: ${count}! traces`,
    state: Ainc,
    tasks: tasksOf(count, 'adder', () => increment),
    *finally(s) {
      bugOn(s.x.value !== count, `x != ${count}`);
    },
  });

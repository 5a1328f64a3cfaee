/** `count` tasks increment an atomic counter and learn nothing from it: one trace, for they commute. */
import { bugOn } from '../../kernel/assertion.ts';
import { atomic, atomicInc } from '../../kernel/atomic.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const AincVoid = struct('ainc_void', { x: atomic(0) });

function* increment(s: InstanceOf<typeof AincVoid>) {
  yield* atomicInc(s.x);
}

export const aincVoid = (count: number) =>
  defineProgram({
    name: `program/ainc-void-${count}`,
    about: `${count} tasks increment an atomic counter whose value nobody sees: 1 trace`,
    state: AincVoid,
    tasks: tasksOf(count, 'adder', () => increment),
    *finally(s) {
      bugOn(s.x.value !== count, `x != ${count}`);
    },
  });

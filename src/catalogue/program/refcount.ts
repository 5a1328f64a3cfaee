/**
 * An owner drops its reference while `count` users try to take one each. Whoever drops the last one
 * frees; a user that took one must find the object not freed.
 */
import { bugOn } from '../../kernel/assertion.ts';
import { atomic, atomicDecAndTest, atomicIncNotZero } from '../../kernel/atomic.ts';
import { readOnce, writeOnce } from '../../kernel/field.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const Refcount = struct('refcount', { count: atomic(1), freed: 0 });

function* use(s: InstanceOf<typeof Refcount>) {
  if (!(yield* atomicIncNotZero(s.count))) return;
  bugOn((yield* readOnce(s, 'freed')) !== 0, 'freed');
  if (yield* atomicDecAndTest(s.count)) yield* writeOnce(s, 'freed', 1);
}

export const refcount = (count: number) =>
  defineProgram({
    name: `program/refcount-${count}`,
    about: `an owner drops its reference, ${count} users take one each if it is not too late`,
    state: Refcount,
    tasks: {
      owner: {
        *run(s) {
          if (yield* atomicDecAndTest(s.count)) yield* writeOnce(s, 'freed', 1);
        },
      },
      ...tasksOf(count, 'user', () => use),
    },
    *finally(s) {
      bugOn(s.freed !== 1, '!freed');
    },
  });

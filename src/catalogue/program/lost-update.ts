/** Two tasks add one to a counter, each by a read and a write of its own. */
import { goal } from '../../kernel/choose.ts';
import { readOnce, writeOnce } from '../../kernel/field.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const LostUpdate = struct('lost_update', { x: 0 });

function* increment(s: InstanceOf<typeof LostUpdate>) {
  const r = yield* readOnce(s, 'x');
  yield* writeOnce(s, 'x', r + 1);
}

export const lostUpdate = defineProgram({
  name: 'program/lost-update',
  about: 'two tasks increment by a read and a write: 4 traces, in 2 of them one update is lost',
  state: LostUpdate,
  tasks: tasksOf(2, 'adder', () => increment),
  finally: (s) => goal(`x is ${s.x}`),
  goals: ['x is 1', 'x is 2'],
});

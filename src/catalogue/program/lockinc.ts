/** `count` tasks increment a plain counter under one mutex: count! traces, one for each order. */
import { bugOn } from '../../kernel/assertion.ts';
import { mutex, mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const Lockinc = struct('lockinc', { lock: mutex(), x: 0 });

function* increment(s: InstanceOf<typeof Lockinc>) {
  yield* mutexLock(s.lock);
  const r = s.x;
  s.x = r + 1;
  yield* mutexUnlock(s.lock);
}

export const lockinc = (count: number) =>
  defineProgram({
    name: `program/lockinc-${count}`,
    about: `${count} tasks increment a counter under a mutex: ${count}! traces`,
    state: Lockinc,
    tasks: tasksOf(count, 'adder', () => increment),
    *finally(s) {
      bugOn(s.x !== count, `x != ${count}`);
    },
  });

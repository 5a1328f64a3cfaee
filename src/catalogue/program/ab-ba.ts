/** Two tasks take two locks in opposite orders: one of three traces is a deadlock. */
import { mutex, mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { struct } from '../../kernel/struct.ts';
import { defineProgram } from '../define-program.ts';

const AbBa = struct('ab_ba', { a: mutex(), b: mutex() });

export const abBa = defineProgram({
  name: 'program/ab-ba',
  about: 'two locks taken in opposite orders: 3 traces, one of them a deadlock',
  state: AbBa,
  expect: { verdict: 'violation', kind: 'deadlock' },
  tasks: {
    ab: {
      *run(s) {
        yield* mutexLock(s.a);
        yield* mutexLock(s.b);
        yield* mutexUnlock(s.b);
        yield* mutexUnlock(s.a);
      },
    },
    ba: {
      *run(s) {
        yield* mutexLock(s.b);
        yield* mutexLock(s.a);
        yield* mutexUnlock(s.a);
        yield* mutexUnlock(s.b);
      },
    },
  },
});

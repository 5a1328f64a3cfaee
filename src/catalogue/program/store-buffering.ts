/**
 * Each of two tasks writes its own place and reads the other's. Memory is sequentially consistent
 * here, so at least one of them sees the other's write.
 */
import { bugOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import { readOnce, writeOnce } from '../../kernel/field.ts';
import { struct } from '../../kernel/struct.ts';
import { defineProgram } from '../define-program.ts';

const StoreBuffering = struct('store_buffering', { x: 0, y: 0, a: 0, b: 0 });

export const storeBuffering = defineProgram({
  name: 'program/store-buffering',
  about: 'two tasks write one place and read the other: 3 traces, in none do both read 0',
  state: StoreBuffering,
  tasks: {
    left: {
      *run(s) {
        yield* writeOnce(s, 'x', 1);
        s.a = yield* readOnce(s, 'y');
      },
    },
    right: {
      *run(s) {
        yield* writeOnce(s, 'y', 1);
        s.b = yield* readOnce(s, 'x');
      },
    },
  },
  *finally(s) {
    goal(`a is ${s.a}, b is ${s.b}`);
    bugOn(s.a === 0 && s.b === 0, 'a == 0 && b == 0');
  },
  goals: ['a is 0, b is 1', 'a is 1, b is 0', 'a is 1, b is 1'],
});

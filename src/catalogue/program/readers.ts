/** One task writes, `count` tasks read: each reads the old value or the new, 2^count traces. */
import { readOnce, writeOnce } from '../../kernel/field.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const Readers = struct('readers', { x: 0 });

function* read(s: InstanceOf<typeof Readers>) {
  yield* readOnce(s, 'x');
}

export const readers = (count: number) =>
  defineProgram({
    name: `program/readers-${count}`,
    about: `one writer and ${count} readers of one place: 2^${count} traces`,
    state: Readers,
    tasks: {
      writer: {
        *run(s) {
          yield* writeOnce(s, 'x', 1);
        },
      },
      ...tasksOf(count, 'reader', () => read),
    },
  });

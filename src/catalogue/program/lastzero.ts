/**
 * A reader walks an array down to the last zero while `count` writers fill it, each from the element
 * below its own. Races of writers with writers lead explorers without wakeup trees into many runs
 * that only repeat what is known.
 */
import { array } from '../../kernel/array.ts';
import { readOnce, writeOnce } from '../../kernel/field.ts';
import { embed, struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const Cell = struct('cell', { value: 0 });

export const lastzero = (count: number) => {
  const Lastzero = struct('lastzero', { a: array(count + 1, embed(Cell)) });
  return defineProgram({
    name: `program/lastzero-${count}`,
    about: `a reader looks for the last zero of an array that ${count} writers fill`,
    state: Lastzero,
    tasks: {
      reader: {
        *run(s) {
          let i = count;
          while ((yield* readOnce(s.a.get(i), 'value')) !== 0) i -= 1;
        },
      },
      ...tasksOf(
        count,
        'writer',
        (index) =>
          function* run(s: InstanceOf<typeof Lastzero>) {
            const r = yield* readOnce(s.a.get(index), 'value');
            yield* writeOnce(s.a.get(index + 1), 'value', r + 1);
          },
      ),
    },
  });
};

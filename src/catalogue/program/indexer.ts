/**
 * Tasks put four values each into an open hash table by cmpxchg. Up to eleven tasks never meet in a
 * slot; from the twelfth on, some do.
 */
import { array } from '../../kernel/array.ts';
import { cmpxchg } from '../../kernel/field.ts';
import { embed, struct, type InstanceOf } from '../../kernel/struct.ts';
import { defineProgram, tasksOf } from '../define-program.ts';

const SLOT_COUNT = 128;
const VALUES_PER_TASK = 4;

const Slot = struct('slot', { value: 0 });
const Indexer = struct('indexer', { table: array(SLOT_COUNT, embed(Slot)) });

export const indexer = (count: number) =>
  defineProgram({
    name: `program/indexer-${count}`,
    about: `${count} tasks insert four values each into a hash table without locks`,
    state: Indexer,
    tasks: tasksOf(
      count,
      'inserter',
      (index) =>
        function* run(s: InstanceOf<typeof Indexer>) {
          for (let m = 1; m <= VALUES_PER_TASK; m += 1) {
            const value = 11 * m + index;
            let at = (7 * value) % SLOT_COUNT;
            while ((yield* cmpxchg(s.table.get(at), 'value', 0, value)) !== 0) {
              at = (at + 1) % SLOT_COUNT;
            }
          }
        },
    ),
  });

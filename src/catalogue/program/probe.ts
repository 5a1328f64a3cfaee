/**
 * One task reads what another one reads and then writes. An explorer that keeps one last access for
 * each variable takes the second task's own read for the one to be compared with, and never sees 1.
 */
import { goal } from '../../kernel/choose.ts';
import { readOnce, writeOnce } from '../../kernel/field.ts';
import { struct } from '../../kernel/struct.ts';
import { defineProgram } from '../define-program.ts';

const Probe = struct('probe', { x: 0, r: 0 });

export const probe = defineProgram({
  name: 'program/probe',
  about: 'a read beside a read and a write of the same place: 2 traces',
  state: Probe,
  tasks: {
    reader: {
      *run(s) {
        s.r = yield* readOnce(s, 'x');
      },
    },
    writer: {
      *run(s) {
        yield* readOnce(s, 'x');
        yield* writeOnce(s, 'x', 1);
      },
    },
  },
  finally: (s) => goal(`r is ${s.r}`),
  goals: ['r is 0', 'r is 1'],
});

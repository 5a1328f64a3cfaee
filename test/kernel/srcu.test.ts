import { expect, test } from 'vitest';
import {
  srcuReadLock,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
} from '../../src/kernel/srcu.ts';
import { compare } from '../util/brute-force.ts';
import { small } from '../util/programs.ts';

test('a reader and a synchronizer have 2 traces: waited for or not', () => {
  const program = small(
    { ss: srcuStruct() },
    {
      *reader(s) {
        const index = yield* srcuReadLock(s.ss);
        yield* srcuReadUnlock(s.ss, index);
      },
      *writer(s) {
        yield* synchronizeSrcu(s.ss);
      },
    },
  );
  const found = compare(program);
  expect(found).toMatchObject({ traces: 2, executions: 2, missing: [], repeated: [], faults: [] });
});

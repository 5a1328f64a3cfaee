import { expect, test } from 'vitest';
import {
  barrier,
  smpMb,
  smpMbAfterAtomic,
  smpMbAfterSpinlock,
  smpMbBeforeAtomic,
  smpRmb,
  smpWmb,
} from '../../src/kernel/barrier.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { goal } from '../../src/kernel/choose.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

test('barriers are no steps', () => {
  const program = small(
    { x: 0, y: 0 },
    {
      *one(s) {
        yield* writeOnce(s, 'x', 1);
        smpMb();
        smpWmb();
        smpMbBeforeAtomic();
        smpMbAfterAtomic();
        goal(`one saw ${yield* readOnce(s, 'y')}`);
      },
      *two(s) {
        yield* writeOnce(s, 'y', 1);
        smpRmb();
        smpMbAfterSpinlock();
        barrier();
        goal(`two saw ${yield* readOnce(s, 'x')}`);
      },
    },
  );
  // Store buffering under sequential consistency: not both see 0.
  expectTraces(program, 3);
  expect(outcomes(program)).toEqual([
    'one saw 0, two saw 1',
    'one saw 1, two saw 0',
    'one saw 1, two saw 1',
  ]);
});

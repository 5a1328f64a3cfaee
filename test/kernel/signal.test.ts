import { expect, test } from 'vitest';
import { goal } from '../../src/kernel/choose.ts';
import { fatalSignalPending, signalPending } from '../../src/kernel/signal.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

function* looksTwice() {
  const first = yield* signalPending();
  const second = yield* fatalSignalPending();
  goal(`${first} ${second}`);
}

test('no signal comes without a budget', () => {
  expect(outcomes(small({}, { looksTwice }))).toEqual(['false false']);
});

test('a signal may come before each look, and stays pending', () => {
  const program = small({}, { looksTwice }, { faults: { signals: 2 } });
  expect(outcomes(program)).toEqual(['false false', 'false true', 'true true']);
  expectTraces(program, 3);
});

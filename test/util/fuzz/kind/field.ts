/** Plain fields, by marked accesses. */
import { cmpxchg, readOnce, writeOnce, xchg } from '../../../../src/kernel/field.ts';
import type { StepDefinition, View } from '../machine.ts';
import { asNumber, step, type Kind } from './kind.ts';

function fieldUpdate(change: (view: View) => number): readonly StepDefinition[] {
  return step((view) => ({ writes: 1, value: change(view), result: view.value }));
}

export const FIELD: Kind = {
  prefix: 'x',
  initial: 0,
  field: () => 0,
  valueOf: (state, key) => state[key] as number,
  acquisitions: [],
  operations: [
    {
      name: 'READ_ONCE',
      mayRepeat: true,
      steps: step(({ value }) => ({ reads: 1, result: value })),
      run: ({ state, key }) => readOnce(state, key),
      told: asNumber,
    },
    {
      name: 'WRITE_ONCE',
      steps: step(({ operand }) => ({ writes: 1, value: operand })),
      run: ({ state, key, operand }) => writeOnce(state, key, operand),
    },
    {
      name: 'xchg',
      steps: fieldUpdate(({ operand }) => operand),
      run: ({ state, key, operand }) => xchg(state, key, operand),
      told: asNumber,
    },
    {
      name: 'cmpxchg 0',
      mayRepeat: true,
      steps: fieldUpdate(({ value, operand }) => (value === 0 ? operand : value)),
      run: ({ state, key, operand }) => cmpxchg(state, key, 0, operand),
      told: asNumber,
    },
  ],
};

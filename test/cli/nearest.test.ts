import { expect, test } from 'vitest';
import { nearest, suggestion } from '../../src/cli/nearest.ts';

const NAMES = ['kfd-unregister', 'kfd-open', 'program/ab-ba'];

test.each([
  { wanted: 'kfd-unregistr', name: 'kfd-unregister' },
  { wanted: 'KFD-OPEN', name: 'kfd-open' },
  { wanted: 'program/abba', name: 'program/ab-ba' },
  { wanted: 'kfd-poen', name: 'kfd-open' },
])('$name is nearest to $wanted', ({ wanted, name }) => {
  expect(nearest(wanted, NAMES)).toBe(name);
});

test('with no names nothing is suggested', () => {
  expect(suggestion('x', [])).toBe('');
});

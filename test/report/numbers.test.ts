import { expect, test } from 'vitest';
import { percent, plural, roughly, rounded, thousands } from '../../src/report/numbers.ts';

test('thousands are set apart, and one thing is no things', () => {
  expect([0, 999, 1000, 1_234_567].map((value) => thousands(value))).toEqual([
    '0',
    '999',
    '1,000',
    '1,234,567',
  ]);
  expect([plural(1, 'step'), plural(0, 'step'), plural(2000, 'step')]).toEqual([
    '1 step',
    '0 steps',
    '2,000 steps',
  ]);
});

test('numbers are rounded to significant digits', () => {
  expect([4137, 96, 0, 1_999_999, Infinity].map((value) => rounded(value, 2))).toEqual([
    4100,
    96,
    0,
    2_000_000,
    Infinity,
  ]);
});

test('about how many is said in words from a million on', () => {
  const values = [0, 7, 2345, 999_999, 1_234_567, 17e6, 2.5e9, 4e12, 1e15, Infinity];
  expect(values.map((value) => roughly(value))).toEqual([
    '0',
    '7',
    '2,300',
    '1 million',
    '1.2 million',
    '17 million',
    '2.5 billion',
    '4 trillion',
    'a thousand trillion',
    'a thousand trillion',
  ]);
});

test('percentages have as many digits as mean something', () => {
  const parts = [0, 0.0001, 0.001, 0.0324, 0.0996, 0.41, 1];
  expect(parts.map((part) => percent(part))).toEqual([
    '0%',
    'less than 0.1%',
    '0.1%',
    '3.2%',
    '10%',
    '41%',
    '100%',
  ]);
});

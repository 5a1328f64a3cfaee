import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { wrap } from '../../src/report/wrap.ts';

test('what fits stays on one line', () => {
  expect(wrap('mutex_lock(&a)', 14)).toEqual(['mutex_lock(&a)']);
});

test('a result goes to a line of its own first', () => {
  expect(wrap('rcu_dereference(toy_table.first) → toy_process@0x881000000000', 36)).toEqual([
    'rcu_dereference(toy_table.first)',
    '    → toy_process@0x881000000000',
  ]);
});

test('arguments break after a comma, or after the parenthesis', () => {
  expect(wrap('kzalloc(sizeof(struct toy_process), GFP_KERNEL)', 40)).toEqual([
    'kzalloc(sizeof(struct toy_process),',
    '    GFP_KERNEL)',
  ]);
  expect(wrap('mutex_lock(&toy_process.lock)', 24)).toEqual([
    'mutex_lock(',
    '    &toy_process.lock)',
  ]);
});

test('a word without a place to break is cut', () => {
  expect(wrap('a'.repeat(20), 10, 2)).toEqual(['a'.repeat(10), `  ${'a'.repeat(8)}`, '  aa']);
});

function bare(text: string): string {
  return text.replaceAll(' ', '');
}

test('no line is too long, and nothing but spaces is lost', () => {
  const letters = fc.constantFrom('a', 'b', ' ', ',', '(', ')', '.', '→');
  fc.assert(
    fc.property(
      fc.array(letters, { maxLength: 200 }).map((all) => all.join('').trim()),
      fc.integer({ min: 12, max: 60 }),
      (text, width) => {
        const lines = wrap(text, width);
        expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
        expect(bare(lines.join(''))).toBe(bare(text));
      },
    ),
  );
});

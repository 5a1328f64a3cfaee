import { expect, test } from 'vitest';
import { recordToy } from './sample.ts';

/** `open` runs to its end, then `munmap`. */
const ONE_AFTER_THE_OTHER = '000000000111';

test('a step tells what it changed, and what its task holds then', () => {
  const { initial, steps } = recordToy('before', ONE_AFTER_THE_OTHER, { hasValues: true });
  expect(initial).toEqual([
    { path: 'toy_table.opens', value: '0' },
    { path: 'toy_table.size', value: '0' },
    { path: 'toy_table.first', value: 'NULL' },
  ]);
  const lines = steps.map(({ operation, after }) => {
    const changes = after?.changes.map(({ path, value }) => `${path} = ${value}`) ?? [];
    return `${operation}: ${changes.join(', ')} [${after?.held.join(', ')}]`;
  });
  expect(lines).toMatchInlineSnapshot(`
    [
      "atomic_inc(&toy_table.opens): toy_table.opens = 1 []",
      "mutex_lock(&toy_table.lock):  [toy_table.lock]",
      "kzalloc(sizeof(struct toy_process), GFP_KERNEL): toy_process.pages = 1 [toy_table.lock]",
      "rcu_assign_pointer(toy_table.first, &toy_process): toy_table.first = toy_process@0x881000000000 [toy_table.lock]",
      "atomic_fetch_add(&toy_table.opens): toy_table.opens = 0 [toy_table.lock]",
      "rcu_assign_pointer(toy_table.first, NULL): toy_table.first = NULL [toy_table.lock]",
      "kfree(toy_process): toy_process = freed [toy_table.lock]",
      "mutex_unlock(&toy_table.lock):  []",
      "rcu_dereference(toy_table.first):  []",
    ]
  `);
});

test('without being asked, a recording has no values', () => {
  const recording = recordToy('before', ONE_AFTER_THE_OTHER);
  expect(recording).not.toHaveProperty('initial');
  expect(recording.steps[0]).not.toHaveProperty('after');
});

test('a write by plain code belongs to the step before it', () => {
  const { initial, steps } = recordToy('race', '0000000011', { hasValues: true });
  // Both have written before their first step.
  expect(initial?.find(({ path }) => path === 'toy_table.size')?.value).toBe('2');
  const writes = steps.flatMap((step) =>
    step.after?.changes.filter((c) => c.path.endsWith('size')),
  );
  expect(writes).toEqual([{ path: 'toy_table.size', value: '3' }]);
});

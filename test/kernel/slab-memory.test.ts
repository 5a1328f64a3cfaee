import { expect, test } from 'vitest';
import { Memory } from '../../src/kernel/memory.ts';
import { SlabMemory } from '../../src/kernel/slab-memory.ts';

function memory(number: number): Memory {
  const place = { address: 4096 * number, size: 8 };
  return new Memory(`m${number}`, 'slab', place, { first: number, count: 1 });
}

function names(live: SlabMemory): string[] {
  return [...live].map(({ name }) => name);
}

test('what is live is listed in order of allocation, whatever was freed in between', () => {
  const live = new SlabMemory();
  const all = Array.from({ length: 100 }, (_, number) => memory(number));
  for (const each of all) live.add(each);
  // Far more than half of them go, so that the rest has moved up more than once.
  const kept = all.filter((_, number) => number % 10 === 3);
  for (const each of all) if (!kept.includes(each)) live.delete(each);
  expect(names(live)).toEqual(kept.map(({ name }) => name));
  expect(live.size).toBe(kept.length);
});

test('what has moved up is found when it is freed itself', () => {
  const live = new SlabMemory();
  const all = Array.from({ length: 64 }, (_, number) => memory(number));
  for (const each of all) live.add(each);
  for (const each of all.slice(0, 60)) live.delete(each);
  live.delete(all[61] as Memory);
  live.add(memory(64));
  expect(names(live)).toEqual(['m60', 'm62', 'm63', 'm64']);
});

test('freeing what is not live changes nothing', () => {
  const live = new SlabMemory();
  const freed = memory(0);
  live.add(freed);
  live.add(memory(1));
  live.delete(freed);
  live.delete(freed);
  expect(names(live)).toEqual(['m1']);
  expect(live.size).toBe(1);
});

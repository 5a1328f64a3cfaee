import { expect, test } from 'vitest';
import { PAGE, User } from '../util/user.ts';

test('mlock of a part of what is locked already populates that part, and comes to an end', () => {
  const user = new User();
  const at = user.map(3);
  expect(user.run(user.process.mlock(at, 3 * PAGE))).toBe(0);
  expect(user.run(user.process.mlock(at + PAGE, PAGE))).toBe(0);
  expect(user.inMemory(at, 3)).toEqual([1, 1, 1]);
});

import { expect, test } from 'vitest';
import { runDirect } from '../../src/kernel/direct.ts';
import { readOnce, writeOnce } from '../../src/kernel/field.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { retry, RETRY } from '../../src/kernel/retry.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct } from '../../src/kernel/struct.ts';

const Shared = struct('shared', { x: 0, y: 0 });

test('in direct mode others run while a loop waits, and a loop that gets on is never given up', () => {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  const s = allocateStatic(kernel, Shared);
  kernel.spawn('setter', 'thread', null, function* setter() {
    yield* writeOnce(s, 'y', 1);
    yield* writeOnce(s, 'x', 5);
  });
  const waited = runDirect(
    kernel,
    retry('x', function* () {
      const x = yield* readOnce(s, 'x');
      return x === 0 ? RETRY : x;
    }),
  );
  expect(waited).toBe(5);
  const counted = runDirect(
    kernel,
    retry('y', function* () {
      yield* writeOnce(s, 'y', s.y + 1);
      return s.y < 500 ? RETRY : s.y;
    }),
  );
  expect(counted).toBe(500);
  expect(kernel.awaited.size).toBe(0);
});

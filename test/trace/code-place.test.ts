import { expect, test } from 'vitest';
import { bodyPlace } from '../../src/trace/code-place.ts';

function stack(...frames: readonly string[]): string {
  return ['Error: place', ...frames.map((frame) => `    at ${frame}`)].join('\n');
}

const RESUME = 'Kernel.resume (file:///src/kernel/kernel.ts:480:39)';

test('the body is the frame above the one that resumes it', () => {
  const text = stack(
    'Recorder.onMade (file:///src/trace/recorder.ts:60:1)',
    'mutexLock (file:///src/kernel/mutex.ts:151:10)',
    'kfdOpen (file:///src/drivers/kfd.ts:88:12)',
    'kfdOpen.next (<anonymous>)',
    RESUME,
  );
  expect(bodyPlace(text)).toBe('file:///src/drivers/kfd.ts:88:12');
});

test('methods of objects and anonymous bodies are bodies too', () => {
  const method = stack('Object.run (file:///a.ts:6:26)', 'run.next (<anonymous>)', RESUME);
  expect(bodyPlace(method)).toBe('file:///a.ts:6:26');
  const anonymous = stack('file:///a.ts:7:3', 'Generator.next (<anonymous>)', RESUME);
  expect(bodyPlace(anonymous)).toBe('file:///a.ts:7:3');
});

test('the kernel may be of any class', () => {
  const text = stack(
    'open (file:///a.ts:6:26)',
    'open.next (<anonymous>)',
    'Machine.resume (file:///src/kernel/kernel.ts:480:39)',
  );
  expect(bodyPlace(text)).toBe('file:///a.ts:6:26');
});

test('a generator that the body delegates to is the innermost body', () => {
  const text = stack(
    'shrink (file:///a.ts:10:3)',
    'shrink.next (<anonymous>)',
    'run (file:///a.ts:20:5)',
    'run.next (<anonymous>)',
    RESUME,
  );
  expect(bodyPlace(text)).toBe('file:///a.ts:10:3');
});

test('iterators of the kernel that a body runs through are passed over', () => {
  const text = stack(
    'listForEach (file:///src/kernel/list.ts:10:3)',
    'listForEach.next (<anonymous>)',
    'walk (file:///src/drivers/kfd.ts:20:5)',
    'walk.next (<anonymous>)',
    RESUME,
  );
  expect(bodyPlace(text)).toBe('file:///src/drivers/kfd.ts:20:5');
});

test('a function of the kernel itself has its own place', () => {
  const text = stack(
    'krefPut (file:///src/kernel/kref.ts:9:3)',
    'krefPut.next (<anonymous>)',
    RESUME,
  );
  expect(bodyPlace(text)).toBe('file:///src/kernel/kref.ts:9:3');
});

test('what is below the engine is another task, or nobody', () => {
  const text = stack(
    'Kernel.report (file:///src/kernel/kernel.ts:400:1)',
    'Kernel.step (file:///src/kernel/kernel.ts:170:1)',
    'explore (file:///src/check/a.ts:1:1)',
    'explore.next (<anonymous>)',
  );
  expect(bodyPlace(text)).toBeNull();
});

test('a stack that is not printed as V8 prints it has no place', () => {
  expect(bodyPlace('kfdOpen@file:///a.ts:88:12\nnext@[native code]')).toBeNull();
  expect(bodyPlace('')).toBeNull();
});

import { expect, test } from 'vitest';
import { readOnce, writeOnce } from '../../../src/kernel/field.ts';
import {
  load,
  moduleText,
  unloadModule,
  tryModuleGet,
  modulePut,
} from '../../../src/kernel/module.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const demo = moduleText('demo');
const globals = demo.data({ count: 0 });
const init = demo.fn(function* demoInit() {
  yield* readOnce(globals(), 'count');
  return 0;
});
const exit = demo.fn(function* demoExit() {
  yield* readOnce(globals(), 'count');
});
const demoModule = demo.module({ data: globals, init, exit });
const callback = demo.fn(function* demoCallback() {
  yield* writeOnce(globals(), 'count', 1);
  yield* writeOnce(globals(), 'count', 2);
});

test('a callback into a module that was unloaded is found', () => {
  const result = check(
    { registered: 1 },
    {
      *caller(s) {
        if ((yield* readOnce(s, 'registered')) === 1) yield* callback();
      },
      *rmmod(s) {
        yield* writeOnce(s, 'registered', 0);
        yield* unloadModule(demoModule);
      },
    },
    { setup: (kernel) => void load(kernel, demoModule) },
  );
  expect(new Set(violationsOf(result))).toContain('unloaded-code demo');
  expect(messagesOf(result)).toContain('demo_callback runs after its module demo was unloaded');
});

test('a callback that holds its module is clean', () => {
  const result = check(
    { registered: 1 },
    {
      *caller() {
        if (!(yield* tryModuleGet(demo))) return;
        yield* callback();
        yield* modulePut(demo);
      },
      *rmmod() {
        yield* unloadModule(demoModule);
      },
    },
    { setup: (kernel) => void load(kernel, demoModule) },
  );
  expect(result.verdict).toBe('clean');
});

/** Code that never comes back: exploration runs in a worker that is ended, and the line is found. */
import { afterAll, describe, expect, it } from 'vitest';
import { BODY_LINE, NODES, OWN_STACK, scenarioFile, Workshop } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

/** Long enough for a start on a busy machine. */
const SECONDS = 3;

const FILES = {
  between: {
    title: 'between two operations',
    text: scenarioFile(
      `    yield* mutexLock(thing.lock);\n    thing.value = 1;\n    while (true) {}`,
    ),
    place: `:${BODY_LINE + 2}: `,
    says: `task 'b' reached no operation for ${SECONDS} s; the last one was mutex_lock(&thing.lock).`,
  },
  first: {
    title: 'before the first operation',
    text: scenarioFile(`    for (;;);`),
    place: `:${BODY_LINE}: `,
    says: `task 'b' reached no operation for ${SECONDS} s`,
  },
  calls: {
    title: 'calling functions that do nothing',
    text: scenarioFile(
      `    yield* spin();`,
      `}); const nothing = fn(function* nothing() {});\nconst spin = fn(function* spin() {\n  for (;;) yield* nothing();\n}); void ({`,
    ),
    // In either of the two functions, as it happens.
    place: ':',
    says: `task 'b' reached no operation for ${SECONDS} s`,
  },
  setup: {
    title: 'in set-up',
    text: scenarioFile('', `setup() {\n while (true) {} }`),
    place: `:${BODY_LINE + 2}: `,
    says: `set-up reached no operation for ${SECONDS} s`,
  },
  after: {
    title: 'after all tasks',
    text: scenarioFile('', `finally() {\n while (true) {} }`),
    place: `:${BODY_LINE + 2}: `,
    says: `reached no operation for ${SECONDS} s`,
  },
  top: {
    title: 'at the top of the file',
    text: `interface A { x: 1 }\n\nwhile (true) {}\n`,
    place: ':3: ',
    says: `what the file does when it is loaded did not end within ${SECONDS} s`,
  },
};

describe.each(NODES)('on %s, an endless loop', (node) => {
  it.each(Object.entries(FILES))('%s: $title is found', async (name, { text, place, says }) => {
    shop.write({ [`${name}.ts`]: text });
    const { code, stdout, stderr } = await shop.run(['check', `./${name}.ts`], {
      node,
      env: { MMULAB_SILENCE_SECONDS: String(SECONDS) },
    });
    expect(stderr).toContain(`${name}.ts${place}`);
    expect(stderr).toContain(says);
    expect(stderr).toContain('(MN206)');
    expect(stderr).not.toMatch(OWN_STACK);
    expect([code, stdout]).toEqual([2, '']);
  });
});

describe('an endless loop', () => {
  it('is noticed after 5 seconds if nobody says otherwise', async () => {
    shop.write({ 'default.ts': `while (true) {}\n` });
    const startedAt = performance.now();
    const { code, stderr } = await shop.run(['check', './default.ts']);
    expect(stderr).toContain('did not end within 5 s');
    expect(performance.now() - startedAt).toBeGreaterThan(5000);
    expect(code).toBe(2);
  });
});

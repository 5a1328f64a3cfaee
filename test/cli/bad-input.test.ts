/** What is said about files that cannot be used: where, why, and never with a stack of ours. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BODY_LINE, NODES, OWN_STACK, scenarioFile, Workshop } from './mmulab.ts';

interface Bad {
  readonly title: string;
  readonly text: string;
  /** What stderr begins with, after the name of the file. */
  readonly says: string;
}

const at = (line: number): number => BODY_LINE + line;

const FILES: Readonly<Record<string, Bad>> = {
  parse: {
    title: 'does not parse',
    text: `export const a = 1;\nexport function f() {\n  return [1, 2;\n}\n`,
    says: ':3:15: Unexpected token, expected "," (MN103)',
  },
  twice: {
    title: 'declares a name twice, which only V8 notices',
    text: `const a: number = 1;\n\nconst a = 2;\n`,
    says: `:3: Identifier 'a' has already been declared (MN103)`,
  },
  deep: {
    title: 'imports a file that does not parse',
    text: `import { x } from './lib/broken';\nexport const y = x;\n`,
    says: '',
  },
  misses: {
    title: 'imports a name that mmulab does not have',
    text: `import { defineScenario,\n  mutexLok } from 'mmulab';\nmutexLok(defineScenario);\n`,
    says: `'mmulab' exports no 'mutexLok'. Did you mean 'mutexLock'? (MN103)`,
  },
  gone: {
    title: 'imports a file that is not there',
    text: `import 'mmulab';\nimport { x } from './nowhere';\nexport const y = x;\n`,
    says: `:2: it imports 'nowhere', which does not exist (MN103)`,
  },
  namespace: {
    title: 'has a namespace',
    text: `export const a = 1;\nnamespace N { export const x = 1; }\n`,
    says: ':2:1: namespaces are not supported',
  },
  throws: {
    title: 'throws when it is loaded',
    text: `interface A { x: 1 }\n\nthrow new Error('not today');\n`,
    says: ':3: the file threw Error: not today when it was loaded (MN103)',
  },
  rejects: {
    title: 'rejects a promise that nobody waits for',
    text: `\nPromise.reject(new Error('late'));\nawait new Promise((done) => setTimeout(done, 1000));\n`,
    says: ':2: the file threw Error: late (MN103)',
  },
  nothing: {
    title: 'exports nothing',
    text: `const a = 1;\n`,
    says: ': no scenario is exported, nothing.',
  },
  other: {
    title: 'exports no scenario',
    text: `export const a = 1;\nexport const b = { name: 'x' };\n`,
    says: `: no scenario is exported, only a, b. Write 'export const scenario = defineScenario({`,
  },
  half: {
    title: 'exports half a scenario',
    text: `import { defineScenario } from 'mmulab';\nexport const s = defineScenario({ name: 'x', variants: { v: {} } } as any);\n`,
    says: `: scenario 'x': 'setup' must be a function (MN105)`,
  },
  faults: {
    title: 'misspells a fault',
    text: scenarioFile('').replace('variants:', 'faults: { allocation: 1 }, variants:'),
    says: `: scenario 'mine': 'faults' has no 'allocation'. Did you mean 'allocations'? (MN105)`,
  },
  plain: {
    title: 'has a task that is no generator',
    text: scenarioFile('').replace('b: { *run(thing: any) {', 'b: { run(thing: any) {'),
    says: `: scenario 'mine': 'run' of task 'b' must be a generator`,
  },
  task: {
    title: 'throws inside a task',
    text: scenarioFile(`    yield* mutexLock(thing.lock);\n    throw new Error('no');`),
    says: `:${at(1)}: task 'b' threw Error: no (MN201)`,
  },
  undefined: {
    title: 'uses a field that is not there',
    text: scenarioFile(`\n    yield* mutexLock(thing.lokc);`),
    says: `:${at(1)}: task 'b' threw TypeError`,
  },
  setup: {
    title: 'throws in set-up',
    text: scenarioFile('', `setup() {\n throw new Error('no'); }`),
    says: `:${at(2)}: `,
  },
  forgets: {
    title: 'forgets a yield*',
    text: scenarioFile(`    yield* mutexLock(thing.lock);\n\n    mutexUnlock(thing.lock);`),
    says: `:${at(2)}: mutex_unlock(&thing.lock) in b was never run; put 'yield*' before it (MN202)`,
  },
  forgetsCall: {
    title: 'forgets the yield* before a call, in a function of its own',
    text: scenarioFile(
      `    yield* outer(thing);`,
      `}); const outer = fn(function* outer(thing: any) {\n  change(thing);\n  yield* mutexLock(thing.lock);\n}); void ({`,
    ),
    says: `:${at(2)}: change() in outer was never run`,
  },
  star: {
    title: 'writes yield for yield*',
    text: scenarioFile(`    yield* mutexLock(thing.lock);\n    yield mutexUnlock(thing.lock);`),
    says: `:${at(1)}: b wrote 'yield' where 'yield*' is needed, before mutex_unlock(&thing.lock) (MN203)`,
  },
  value: {
    title: 'yields a value',
    text: scenarioFile(`    yield* mutexLock(thing.lock);\n\n    yield 42;`),
    says: `:${at(2)}: b yielded 42`,
  },
  blocks: {
    title: 'blocks in set-up',
    text: scenarioFile(
      '',
      `setup(machine: any) { const thing = allocateStatic(machine, Thing);\n  machine.runNow(mutexLock(thing.lock));\n  machine.runNow(mutexLock(thing.lock));\n  return thing; }`,
    ),
    says: `:${at(3)}: set-up would block at mutex_lock(&thing.lock) (MN208)`,
  },
  endless: {
    title: 'never ends, though it yields',
    text: scenarioFile(
      `    for (;;) {\n      yield* mutexLock(thing.lock);\n      yield* mutexUnlock(thing.lock);\n    }`,
    ),
    says: ': an execution did not end within 10000 steps: task',
  },
  counts: {
    title: 'counts executions in a variable of the module',
    text: scenarioFile(
      `    count += 1;\n    if (count > 1) yield* change(thing);`,
      `}); let count = 0; void ({`,
    ),
    says: `:${at(1)}: the same schedule took another course`,
  },
  late: {
    title: 'keeps state that only shows after many executions',
    text: scenarioFile(
      `    count += 1;\n    yield* change(thing);\n    if (count > 6) yield* change(thing);`,
      `}); let count = 0; void ({`,
    ),
    says: ': ',
  },
  random: {
    title: 'rolls dice',
    text: scenarioFile(
      `    yield* mutexLock(thing.lock);\n    thing.value = Math.random();\n    thing.value += 1;\n    yield* mutexUnlock(thing.lock);`,
    ),
    says: `:${at(1)}: the same schedule took another course`,
  },
  exits: {
    title: 'ends the process',
    text: `process.exit(0);\n`,
    says: 'the file called process.exit() (MN103)',
  },
};

const PLACELESS = new Set(['exits', 'deep', 'misses', 'late', 'endless']);

describe.each(NODES)('on %s, a file that', (node) => {
  const shop = new Workshop();
  beforeAll(() => {
    for (const [name, { text }] of Object.entries(FILES)) shop.write({ [`${name}.ts`]: text });
    shop.write({ 'lib/broken.ts': `export const x = 1;\nexport const y: = 2;\n` });
  });
  afterAll(() => shop.remove());

  it.each(Object.entries(FILES))('%s.ts $title is told so', async (name, { says }) => {
    const { code, stdout, stderr } = await shop.run(['check', `./${name}.ts`], { node });
    expect(stderr).toContain(PLACELESS.has(name) ? says : `${name}.ts${says}`);
    expect(stderr).not.toMatch(OWN_STACK);
    expect([code, stdout]).toEqual([2, '']);
  });
});

describe('a file', () => {
  const shop = new Workshop();
  afterAll(() => shop.remove());

  it.each([
    { path: './none.ts', says: "there is no file './none.ts' (MN103)" },
    { path: './folder.ts', says: "there is no file './folder.ts' (MN103)" },
    { path: './notes.txt', says: "'./notes.txt' is no TypeScript module" },
  ])('that cannot be one is refused: $path', async ({ path, says }) => {
    shop.write({ 'notes.txt': 'hello', 'folder.ts/x': '' });
    const { code, stderr } = await shop.run(['check', path]);
    expect(stderr).toContain(says);
    expect(code).toBe(2);
  });

  it('that imports a broken one is told where that is', async () => {
    shop.write({
      'a.ts': `import { x } from './lib/b';\nexport const y = x;\n`,
      'lib/b.ts': `export const x = 1;\nexport const y: = 2;\n`,
    });
    const { stderr } = await shop.run(['check', './a.ts']);
    expect(stderr).toBe('lib/b.ts:2:17: Unexpected token (MN103)\n');
  });

  it('with a mistake does not keep the others from being checked', async () => {
    shop.write({ 'bad.ts': 'export const a = ;\n', 'good.ts': scenarioFile('') });
    const { code, stdout, stderr } = await shop.run(['check', './bad.ts', './good.ts']);
    expect(stderr).toContain('bad.ts:1:');
    expect(stdout).toContain('mine only\nno violation');
    expect(code).toBe(2);
  });

  it('with a mistake leaves one JSON document that names it', async () => {
    shop.write({ 'bad.ts': 'export const a = ;\n' });
    const { code, stdout } = await shop.run(['check', './bad.ts', '--json']);
    expect(JSON.parse(stdout)).toEqual({
      schemaVersion: 1,
      results: [],
      errors: [{ code: 'MN103', message: 'Unexpected token', place: 'bad.ts:1:18' }],
    });
    expect(code).toBe(2);
  });
});

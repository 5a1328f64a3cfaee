/** `check`: verdicts, exit codes, JSON, bounds, and files wherever they lie. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BODY_LINE, NODES, OWN_STACK, scenarioFile, Workshop, type Ended } from './mmulab.ts';

interface Result {
  readonly scenario: string;
  readonly variant: string;
  readonly expected: unknown;
  readonly asExpected: boolean;
  readonly verdict: string;
  readonly complete: boolean;
  readonly bound?: { readonly kind: string; readonly limit: number; readonly requested: boolean };
  readonly goals: readonly { readonly name: string; readonly reached: boolean }[];
  readonly executions: number;
  readonly violations: readonly {
    readonly kind: string;
    readonly object: string;
    readonly token: string;
    readonly schedule: readonly { readonly operation: string; readonly place: string | null }[];
  }[];
}

function resultsOf({ stdout }: Ended): readonly Result[] {
  const document = JSON.parse(stdout) as { schemaVersion: number; results: readonly Result[] };
  expect(document.schemaVersion).toBe(1);
  return document.results;
}

const shop = new Workshop();
afterAll(() => shop.remove());

const CLEAN = scenarioFile(`    yield* change(thing);`);
const RACE = scenarioFile(`\n    thing.value += 1;`);

describe('the exit code', () => {
  it('is 0 when a variant is expected to be violated and is', async () => {
    expect((await shop.run(['check', 'program/ab-ba'])).code).toBe(0);
  });

  it('is 0 for a file in which nothing is found', async () => {
    shop.write({ 'clean.ts': CLEAN });
    const { code, stdout, stderr } = await shop.run(['check', './clean.ts']);
    expect(stdout).toContain('no violation in 2 executions');
    expect([code, stderr]).toEqual([0, '']);
  });

  it('is 1 for a file in which something is found', async () => {
    shop.write({ 'race.ts': RACE });
    const { code, stdout } = await shop.run(['check', './race.ts']);
    expect(stdout).toContain('data race on thing.value');
    expect(code).toBe(1);
  });

  it('is 1 when something else is found than expected', async () => {
    const expecting = `expect: { verdict: 'violation', kind: 'deadlock' }`;
    shop.write({ 'other.ts': RACE.replace('only: {}', `only: { ${expecting} }`) });
    const ended = await shop.run(['check', './other.ts', '--json']);
    expect(resultsOf(ended)[0]).toMatchObject({ verdict: 'violation', asExpected: false });
    expect(ended.code).toBe(1);
  });

  it('is 1 when a goal is never reached, for then nothing was shown', async () => {
    shop.write({ 'vain.ts': scenarioFile('', `goals: ['moon']`) });
    const ended = await shop.run(['check', './vain.ts', '--json']);
    expect(resultsOf(ended)[0]).toMatchObject({
      verdict: 'vacuous',
      goals: [{ name: 'moon', reached: false }],
    });
    expect(ended.code).toBe(1);
  });

  it('is 0 when only a bound that was asked for ended the search', async () => {
    const ended = await shop.run(['check', 'program/lockinc-4', '--max-executions', '5', '--json']);
    expect(resultsOf(ended)[0]).toMatchObject({
      verdict: 'bounded',
      complete: false,
      bound: { kind: 'executions', limit: 5, requested: true },
      executions: 5,
    });
    expect(ended.code).toBe(0);
  });

  it('is 0 for a bound on the steps or on the time, too', async () => {
    const steps = await shop.run(['check', 'program/lockinc-4', '--max-steps', '3', '--json']);
    expect(resultsOf(steps)[0]).toMatchObject({ verdict: 'bounded', bound: { kind: 'steps' } });
    const time = await shop.run(['check', 'program/lockinc-9', '--timeout', '0.01', '--json']);
    expect(resultsOf(time)[0]).toMatchObject({
      verdict: 'bounded',
      bound: { kind: 'time', limit: 0.01, requested: true },
    });
    expect([steps.code, time.code]).toEqual([0, 0]);
  });

  it('is 1 when a bound kept what was expected from being found', async () => {
    const expecting = `expect: { verdict: 'violation' }`;
    shop.write({ 'short.ts': CLEAN.replace('only: {}', `only: { ${expecting} }`) });
    const { code } = await shop.run(['check', './short.ts', '--max-executions', '1']);
    expect(code).toBe(1);
  });

  it('is 3 when memory ran out, which nobody asked for', async () => {
    const hoard = `}); const hoard: unknown[] = []; void ({`;
    const hog = `    hoard.push(new Array(4_000_000).fill(hoard.length + 0.5));\n    yield* change(thing);`;
    const tasks = Array.from(
      { length: 6 },
      (_, i) => `c${i}: { *run(t: any) { yield* change(t); } }`,
    );
    const text = scenarioFile(hog, hoard).replace('b: {', `${tasks.join(', ')}, b: {`);
    shop.write({ 'hog.ts': text });
    const ended = await shop.run(['check', './hog.ts', '--json']);
    const { code, stderr } = ended;
    expect(resultsOf(ended)).toEqual([
      expect.objectContaining({
        verdict: 'bounded',
        complete: false,
        bound: { kind: 'memory', limit: 2048, requested: false },
      }),
    ]);
    expect(stderr).toMatch(/it took more than 2048 MiB of memory, in mine \(only\) after \d+ exec/);
    expect(stderr).not.toMatch(OWN_STACK);
    expect(code).toBe(3);
  });
});

describe('--json', () => {
  it('prints the same bytes each time', async () => {
    const args = ['check', 'kfd-unregister', 'program/ab-ba', './race.ts', '--json'];
    shop.write({ 'race.ts': RACE });
    const [first, second] = [await shop.run(args), await shop.run(args)];
    expect(first.stdout).toBe(second.stdout);
    expect(resultsOf(first).length).toBeGreaterThan(3);
  });

  it('has all fields of the document, with a source line in every step', async () => {
    shop.write({ 'race.ts': RACE });
    const [result] = resultsOf(await shop.run(['check', './race.ts', '--json']));
    expect(Object.keys(result as object)).toEqual([
      'scenario',
      'variant',
      'models',
      'expected',
      'asExpected',
      'verdict',
      'complete',
      'goals',
      'executions',
      'blocked',
      'steps',
      'violations',
    ]);
    const steps = result?.violations[0]?.schedule ?? [];
    expect(steps.length).toBeGreaterThan(0);
    for (const { place } of steps) expect(place).toMatch(/^race\.ts:\d+$/);
  });

  it('stops at the first violation with --bail', async () => {
    const twice = scenarioFile(`    thing.value += 1;\n    yield* mutexUnlock(thing.lock);`);
    shop.write({ 'twice.ts': twice });
    const all = resultsOf(await shop.run(['check', './twice.ts', '--json']))[0];
    const one = resultsOf(await shop.run(['check', './twice.ts', '--json', '--bail']))[0];
    expect(all?.violations.length).toBeGreaterThan(1);
    expect(one).toMatchObject({ complete: false, bound: { kind: 'first-violation' } });
    expect(one?.executions).toBeLessThanOrEqual(all?.executions ?? 0);
  });

  it('checks one variant with --variant', async () => {
    const ended = await shop.run(['check', 'kfd-unregister', '--variant', 'series', '--json']);
    expect(resultsOf(ended).map(({ variant }) => variant)).toEqual(['series']);
    expect(ended.code).toBe(0);
  });
});

describe.each(NODES)('on %s, a file', (node) => {
  it('needs nothing beside it, and may be imported with and without an extension', async () => {
    shop.write({
      'some folder/driver.ts': `export { one } from './parts/one';\nexport { two } from './parts/two.js';\nexport { three } from './parts/three.ts';\n`,
      'some folder/parts/one.ts': CLEAN.replace('const scenario', 'const one').replace(
        'mine',
        'one',
      ),
      'some folder/parts/two.ts': CLEAN.replace('const scenario', 'const two').replace(
        'mine',
        'two',
      ),
      'some folder/parts/three.ts': RACE.replace('const scenario', 'const three').replace(
        'mine',
        'three',
      ),
    });
    const { code, stdout, stderr } = await shop.run(['check', './some folder/driver.ts'], { node });
    expect(stderr).toBe('');
    expect(stdout.match(/^\w+ only$/gm)).toEqual(['one only', 'three only', 'two only']);
    // In every step and in the story: where the user wrote it.
    expect(stdout).toContain(`some folder/parts/three.ts:${BODY_LINE + 1}`);
    expect(stdout).toMatch(/^ +1 +mutex_lock\(&thing\.lock\) .* three\.ts:3$/m);
    expect(code).toBe(1);
  });

  it('may use all of TypeScript that has no types at run time, and enums', async () => {
    const more = [
      `enum Color { Red, Blue = 5 }`,
      `abstract class Base<T> { declare x: T; constructor(readonly y: number, protected z?: string) {} abstract f(): void }`,
      `const checked = { a: 1 } satisfies Record<string, number>;`,
      `type Half<T> = { [K in keyof T]?: T[K] };`,
      `if (Color.Blue !== 5 || checked.a as number !== 1 || !Base!) throw new Error('stripped too much');`,
    ];
    shop.write({ 'rich.ts': `${more.join('\n')}\n${CLEAN}` });
    const { code, stderr } = await shop.run(['check', './rich.ts'], { node });
    expect([code, stderr]).toEqual([0, '']);
  });

  it('prints what it likes, but not where results go', async () => {
    shop.write({ 'loud.ts': `console.log('hello');\nconsole.error('there');\n${CLEAN}` });
    const ended = await shop.run(['check', './loud.ts', '--json'], { node });
    expect(resultsOf(ended)).toHaveLength(1);
    expect(ended.stderr).toMatch(/hello\n/);
    expect(ended.stderr).toMatch(/there\n/);
  });
});

describe('colours', () => {
  const ESCAPE = '\u001B[';

  it('are not for files and pipes', async () => {
    expect((await shop.run(['check', 'program/ab-ba'])).stdout).not.toContain(ESCAPE);
  });

  it('come with FORCE_COLOR and never in JSON', async () => {
    const env = { FORCE_COLOR: '1' };
    expect((await shop.run(['check', 'program/ab-ba'], { env })).stdout).toContain(ESCAPE);
    const json = await shop.run(['check', 'program/ab-ba', '--json'], { env });
    expect(json.stdout).not.toContain(ESCAPE);
  });
});

describe('demo', () => {
  it('draws the bug of patch 9 and then checks the driver as the series makes it', async () => {
    const { code, stdout, stderr } = await shop.run(['demo']);
    expect([code, stderr]).toEqual([0, '']);
    const [before, after] = stdout.split('kfd-unregister series');
    expect(before).toMatch(/CPU0 \(open\) +CPU1 \(munmap\)/);
    expect(before).toContain('BUG: use after free of kfd_process');
    expect(before).toMatch(/Freed by CPU0/);
    expect(before).toMatch(/^replay: npx mmulab replay mn2_\S+$/m);
    expect(after).toMatch(/no violation in \d+ executions.*complete/);
  });

  it('is what npm start runs', () => {
    const path = join(import.meta.dirname, '../../package.json');
    const { scripts } = JSON.parse(readFileSync(path, 'utf8')) as { scripts: { start: string } };
    expect(scripts.start).toBe('node dist/cli/main.js demo');
  });
});

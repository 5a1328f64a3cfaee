/** `check` with bounds on preemptions: what is printed, and with which exit code it ends. */
import { afterAll, describe, expect, it } from 'vitest';
import { scenarioFile, Workshop, type Ended } from './mmulab.ts';

interface Result {
  readonly verdict: string;
  readonly complete: boolean;
  readonly bound?: { readonly kind: string; readonly limit: number; readonly requested: boolean };
  readonly executions: number;
  readonly rounds?: readonly {
    readonly preemptions: number;
    readonly executions: number;
    readonly complete: boolean;
  }[];
  readonly violations: readonly {
    readonly preemptions: number;
    readonly fewestPreemptions: boolean;
    readonly switches: number;
    readonly token: string;
  }[];
}

function resultOf({ stdout }: Ended): Result | undefined {
  return (JSON.parse(stdout) as { results: readonly Result[] }).results[0];
}

const shop = new Workshop();
afterAll(() => shop.remove());

/** It needs one preemption: `a` must be stopped between its two writes. */
const MOMENT = [
  `import { allocateStatic, bugOn, defineScenario, readOnce, struct, writeOnce } from 'mmulab';`,
  `const Thing = struct('thing', { value: 0 });`,
  `export const scenario = defineScenario({ name: 'moment',`,
  `  variants: { only: { expect: { verdict: 'violation' } } },`,
  `  setup: (machine: any) => allocateStatic(machine, Thing),`,
  `  tasks: {`,
  `    a: { *run(thing: any) {`,
  `      yield* writeOnce(thing, 'value', 1);`,
  `      yield* writeOnce(thing, 'value', 2);`,
  `    } },`,
  `    b: { *run(thing: any) {`,
  `      bugOn((yield* readOnce(thing, 'value')) === 1, 'value == 1');`,
  `      yield* readOnce(thing, 'value');`,
  `    } },`,
  `  },`,
  `});`,
  '',
].join('\n');
shop.write({ 'moment.ts': MOMENT });

describe('--preemptions', () => {
  it('leaves out what needs more, which is no success where a violation is expected', async () => {
    const ended = await shop.run(['check', './moment.ts', '--preemptions', '0']);
    expect(ended.stdout).toContain(
      'bounded: no violation in 2 executions, but executions with a preemption were left out, as asked',
    );
    expect(ended.code).toBe(1);
  });

  it('is no failure where none is expected', async () => {
    const ended = await shop.run(['check', 'program/lockinc-3', '--preemptions', '1', '--json']);
    // Whoever waits for a lock is not preempted: nothing is left out.
    expect(resultOf(ended)).toMatchObject({ verdict: 'clean', complete: true });
    expect(ended.code).toBe(0);
  });

  it('finds what needs no more than that, and says what it needs', async () => {
    const ended = await shop.run(['check', './moment.ts', '--preemptions', '1', '--json']);
    const [violation] = resultOf(ended)?.violations ?? [];
    expect(violation).toMatchObject({ preemptions: 1, fewestPreemptions: true, switches: 1 });
    expect(ended.code).toBe(0);
    const again = await shop.run(['replay', violation?.token ?? '']);
    expect(again.stdout).toContain('BUG_ON(value == 1)');
  });
});

describe('--shortest', () => {
  it('stops where the first violation is found, and tells of each bound', async () => {
    const result = resultOf(await shop.run(['check', './moment.ts', '--shortest', '--json']));
    expect(result?.rounds?.map(({ preemptions, complete }) => [preemptions, complete])).toEqual([
      [0, true],
      [1, true],
    ]);
    const { stdout } = await shop.run(['check', './moment.ts', '--shortest']);
    expect(stdout).toContain('needs 1 preemption; shown with 1 change between tasks');
    expect(stdout).toMatch(/^by preemptions allowed: 0: 2 executions, 1: \d+$/m);
  });
});

describe('--bounds-first', () => {
  it('says what was explored to the end before the search was ended', async () => {
    const args = ['check', 'program/refcount-3', '--bounds-first', '--max-executions', '300'];
    const result = resultOf(await shop.run([...args, '--json']));
    expect(result).toMatchObject({
      verdict: 'bounded',
      bound: { kind: 'executions', limit: 300, requested: true },
    });
    expect(result?.rounds?.[0]).toMatchObject({ preemptions: 0, complete: true });
  });
});

describe('a scenario', () => {
  it('may state its bound', async () => {
    shop.write({
      'stated.ts': scenarioFile(
        '    yield* change(thing);\n    yield* change(thing);',
        'preemptions: 0',
      ),
    });
    const ended = await shop.run(['check', './stated.ts', '--json']);
    expect(resultOf(ended)).toMatchObject({
      verdict: 'bounded',
      bound: { kind: 'preemptions', limit: 0, requested: true },
    });
    expect(ended.code).toBe(0);
  });

  it('must state it as a number', async () => {
    shop.write({ 'wrong.ts': scenarioFile('', `preemptions: 'two' as never`) });
    const { code, stderr } = await shop.run(['check', './wrong.ts']);
    expect(stderr).toContain(
      `'preemptions' of the scenario is "two"; it must be a number, 0 or more`,
    );
    expect(code).toBe(2);
  });
});

describe('the command line is refused that', () => {
  it.each([
    { args: ['--shortest', '--bounds-first'], says: 'give one of them' },
    { args: ['--sample', 'random', '--shortest'], says: 'finds no shortest violation' },
    { args: ['--sample', 'random', '--preemptions', '1'], says: 'any number of preemptions' },
    { args: ['--preemptions', '-1'], says: 'expected a whole number' },
  ])('has $args', async ({ args, says }) => {
    const { code, stderr } = await shop.run(['check', 'program/ab-ba', ...args]);
    expect(stderr).toContain(says);
    expect(code).toBe(2);
  });
});

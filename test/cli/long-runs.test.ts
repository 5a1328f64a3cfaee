/**
 * Long runs, as users have them: killed and resumed, explored in threads and in shards. The totals must be
 * those of a search in one piece.
 */
import { watch } from 'node:fs';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Workshop } from './mmulab.ts';

/** `MMULAB_KILLS=50` for the whole campaign. */
const KILLS = Number(process.env['MMULAB_KILLS'] ?? 8);
const SUBJECT = 'program/lockinc-8';
/** So that there is something to be killed in. */
const OFTEN = { MMULAB_CHECKPOINT_SECONDS: '0.005' };

const workshop = new Workshop();
let whole: Result;
beforeAll(async () => {
  [whole] = (await checked(SUBJECT)) as [Result];
  expect(whole).toMatchObject({ executions: 40_320, blocked: 0, complete: true });
});
afterAll(() => workshop.remove());

interface Result {
  readonly variant: string;
  readonly verdict: string;
  readonly complete: boolean;
  readonly executions: number;
  readonly blocked: number;
  readonly steps: number;
  readonly violations: readonly { readonly kind: string; readonly object: string }[];
}

function resultsOf(stdout: string): readonly Result[] {
  return (JSON.parse(stdout) as { readonly results: readonly Result[] }).results;
}

async function checked(...args: readonly string[]): Promise<readonly Result[]> {
  const { code, stdout, stderr } = await workshop.run(['check', ...args, '--json'], { env: OFTEN });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return resultsOf(stdout);
}

/** Runs it and kills it some time after it has saved; true if it came to its end before. */
async function killed(args: readonly string[], file: string, ms: number): Promise<boolean> {
  const running = workshop.start(['check', ...args, '--json'], { env: OFTEN });
  const saved = new Promise<void>((done) => {
    const watcher = watch(workshop.folder, (_, name) => {
      if (name !== file) return;
      watcher.close();
      setTimeout(done, ms);
    });
    void running.ended.then(() => watcher.close());
  });
  await Promise.race([saved, running.ended]);
  running.process.kill('SIGKILL');
  return (await running.ended).code !== null;
}

describe('a search that is killed with SIGKILL and resumed each time', () => {
  test.each([
    ['1 worker', [], KILLS],
    ['2 workers', ['--workers', '2'], Math.ceil(KILLS / 4)],
    ['a bound', ['--preemptions', '3'], Math.ceil(KILLS / 4)],
  ])(
    'has the totals of an undisturbed one, with %s',
    { timeout: 600_000 },
    async (name, more, count) => {
      const undisturbed = name === 'a bound' ? (await checked(SUBJECT, ...more))[0] : whole;
      const random = xoroshiro128plus(1);
      const file = `${name.replaceAll(' ', '-')}.json`;
      let begin = ['--checkpoint', file];
      let kills = 0;
      for (; kills < count; kills += 1) {
        const args = [SUBJECT, ...more, ...begin];
        if (await killed(args, file, uniformInt(random, 0, 25))) break;
        begin = ['--resume', file];
      }
      process.stdout.write(`long runs: ${name}, killed ${kills} times\n`);
      expect(kills).toBeGreaterThan(1);
      const [result] = await checked(SUBJECT, ...more, '--resume', file);
      expect(result).toEqual(undisturbed);
    },
  );
});

describe('a search in threads', () => {
  test.each(['1', '2', '3'])(
    'has the same totals with %s',
    { timeout: 120_000 },
    async (workers) => {
      const [result] = await checked(SUBJECT, '--workers', workers);
      expect(result).toEqual(whole);
    },
  );

  test('finds the same violations', { timeout: 120_000 }, async () => {
    const one = await checked('kfd-unregister');
    const two = await checked('kfd-unregister', '--workers', '2');
    expect(two.map((result) => essence(result))).toEqual(one.map((result) => essence(result)));
  });
});

/** What does not depend on the order of the search. */
function essence({ variant, verdict, complete, executions, violations }: Result): object {
  const found = violations.map(({ kind, object }) => `${kind} ${object}`).toSorted();
  return { variant, verdict, complete, executions, found };
}

describe('four shards', () => {
  test.each([
    ['program/lockinc-6', 'sc'],
    ['kfd-unregister', 'v5.3'],
    ['program/ab-ba', 'sc'],
    // It has a bound.
    ['gru-pairs', 'access+steal'],
  ])('of %s, merged, are the whole', { timeout: 240_000 }, async (subject, variant) => {
    const files = [1, 2, 3, 4].map((part) => `${subject.replaceAll('/', '-')}-${part}.json`);
    for (const [at, file] of files.entries()) {
      const part = ['--shard', `${at + 1}/4`, '--checkpoint', file];
      await checked(subject, '--variant', variant, ...part);
    }
    const { code, stdout } = await workshop.run(['merge', ...files, '--json']);
    expect(code).toBe(0);
    const merged = resultsOf(stdout).map((result) => essence(result));
    const undivided = await checked(subject, '--variant', variant);
    expect(merged).toEqual(undivided.map((result) => essence(result)));

    const missing = await workshop.run(['merge', ...files.slice(1)]);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain('of 4 parts 1/4 is missing');
  });
});

function source(operation: string): string {
  return [
    `import { allocateStatic, atomic, ${operation}, defineScenario, struct } from 'mmulab';`,
    `const Thing = struct('thing', { count: atomic(0) });`,
    `function* run(thing: any) { yield* ${operation}(thing.count); }`,
    `export const scenario = defineScenario({ name: 'mine', variants: { only: {} },`,
    `  setup: (machine: any) => allocateStatic(machine, Thing), tasks: { a: { run }, b: { run } } });`,
  ].join('\n');
}

describe('what does not fit', () => {
  test('is refused with its reason', { timeout: 120_000 }, async () => {
    await checked(SUBJECT, '--checkpoint', 'other.json');
    const refusals = [
      [['check', 'program/ab-ba', '--resume', 'other.json'], 'is about program/lockinc-8'],
      [['check', SUBJECT, '--resume', 'none.json'], 'cannot be read'],
      [['check', SUBJECT, '--shard', '1/2'], '--shard needs --checkpoint FILE'],
      [['check', SUBJECT, '--workers', '2', '--sample', 'random'], 'leave out --sample'],
      [['check', SUBJECT, '--workers', '2', '--preemptions', '1'], 'leave out --workers'],
      [['check', SUBJECT, '--resume', 'other.json', '--preemptions', '1'], '--preemptions 1'],
      [['merge', 'other.json'], 'made without --shard'],
    ] as const;
    for (const [args, reason] of refusals) {
      const { code, stderr } = await workshop.run(args);
      expect({ code, stderr }).toMatchObject({ code: 2 });
      expect(stderr).toContain(reason);
    }
  });

  test('a scenario that was changed in between says so', { timeout: 120_000 }, async () => {
    workshop.write({ 'mine.ts': source('atomicInc') });
    await checked('./mine.ts', '--checkpoint', 'mine.json');
    workshop.write({ 'mine.ts': source('atomicDec') });
    const { code, stderr } = await workshop.run(['check', './mine.ts', '--resume', 'mine.json']);
    expect(code).toBe(2);
    expect(stderr).toContain('its first execution takes other steps');
    expect(stderr).toContain('MN303');
  });
});

/** Signals, and `--watch`, which only a signal ends. */
import { afterAll, describe, expect, it } from 'vitest';
import { scenarioFile, Workshop, type Running } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

/** Says when the search has begun, which takes far longer than any test. */
const LONG = `${scenarioFile(`    yield* change(thing);`).replace(
  'b: {',
  `${Array.from({ length: 9 }, (_, i) => `c${i}: { *run(t: any) { yield* change(t); } }`).join(', ')}, b: {`,
)}console.log('loaded');\n`;

async function search(args: readonly string[]): Promise<Running> {
  shop.write({ 'long.ts': LONG });
  const running = shop.start(['check', './long.ts', ...args]);
  await running.until(() => running.stderr.includes('loaded'));
  return running;
}

describe('a signal', () => {
  it.each([
    { signal: 'SIGINT', exitCode: 130 },
    { signal: 'SIGTERM', exitCode: 143 },
  ] as const)(
    '$signal prints what is known and exits with $exitCode',
    async ({ signal, exitCode }) => {
      const running = await search([]);
      running.process.kill(signal);
      const { code, stdout, stderr } = await running.ended;
      expect(stdout).toMatch(
        /^$|^mine only\nbounded: no violation in [\d,]+ executions?, but the search was interrupted$/m,
      );
      expect(stdout).not.toContain('as asked');
      expect(stderr).toMatch(/^mmulab: interrupted/m);
      expect(code).toBe(exitCode);
    },
  );

  it('leaves one JSON document', async () => {
    const running = await search(['--json']);
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1 });
    expect(code).toBe(130);
  });

  it('names the interruption in the document, with the executions until then', async () => {
    const running = shop.start(['check', 'program/lockinc-9', '--json', '--progress']);
    await running.until(() => running.stderr.includes(' executions, '));
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    const [result] = (JSON.parse(stdout) as { results: { executions: number }[] }).results;
    expect(result).toMatchObject({
      verdict: 'bounded',
      complete: false,
      bound: { kind: 'interrupted', limit: result?.executions, requested: true },
    });
    expect(result?.executions).toBeGreaterThan(0);
    expect(code).toBe(130);
  });

  it('still leaves a document when the search cannot be stopped in time', async () => {
    const body = `    console.log('in it');\n    for (;;) yield* nothing();`;
    const more = `}); const nothing = fn(function* nothing() {}); void ({`;
    shop.write({ 'stuck.ts': scenarioFile(body, more) });
    const env = { MMULAB_SILENCE_SECONDS: '60' };
    const running = shop.start(['check', './stuck.ts', '--json'], { env });
    await running.until(
      () => running.stderr.includes('loaded') || running.stderr.includes('in it'),
    );
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1 });
    expect(code).toBe(130);
  });

  it('stops the whole command, not just the file it is at', async () => {
    shop.write({ 'next.ts': scenarioFile('').replace("'mine'", "'next'") });
    const running = await search(['./next.ts']);
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(stdout).not.toContain('next only');
    expect(code).toBe(130);
  });
});

const part = (value: number): string => `export const value: number = ${value};\n`;

describe('--watch', () => {
  it('checks again when the file, or what it imports, changes', async () => {
    const main = `import { value } from './part';\nif (value === 2) throw new Error('two');\n`;
    const clean = scenarioFile(`    yield* change(thing);`);
    shop.write({ 'part.ts': part(1), 'main.ts': main + clean });
    const running = shop.start(['check', './main.ts', '--watch']);
    const waits = (): number => running.stderr.split('waiting for a change').length - 1;

    await running.until(() => waits() === 1);
    expect(running.stdout.match(/no violation/g)).toHaveLength(1);
    shop.write({ 'part.ts': part(2) });
    await running.until(() => waits() === 2);
    expect(running.stderr).toContain('part.ts changed');
    expect(running.stderr).toContain('main.ts:2: the file threw Error: two');
    shop.write({ 'main.ts': clean });
    await running.until(() => waits() === 3);
    expect(running.stdout.match(/no violation/g)).toHaveLength(2);

    running.process.kill('SIGINT');
    expect((await running.ended).code).toBe(130);
  });

  it('gives up a search whose file changes, and begins anew', async () => {
    const running = await search(['--watch']);
    shop.write({ 'long.ts': scenarioFile('') });
    await running.until(() => running.stderr.includes('waiting for a change'));
    expect(running.stdout).toContain('no violation in 1 execution');
    running.process.kill('SIGINT');
    expect((await running.ended).code).toBe(130);
  });
});

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { scenarioFile, Workshop } from './mmulab.ts';

let workshop: Workshop;
beforeEach(() => {
  workshop = new Workshop();
});
afterEach(() => workshop.remove());

function read(name: string): string {
  return readFileSync(join(workshop.folder, name), 'utf8');
}

/** `--reporter` before each. */
function reporters(...targets: readonly string[]): string[] {
  return targets.flatMap((target) => ['--reporter', target]);
}

const AB_BA = ['check', 'program/ab-ba'];

test('several reports come of one search, and the text is printed as ever', async () => {
  const plain = await workshop.run(AB_BA);
  const { code, stdout } = await workshop.run([
    ...AB_BA,
    ...reporters(
      'html=a.html',
      'sarif=a.sarif',
      'junit=a.xml',
      'text=a.txt',
      'json=a.json',
      'text',
    ),
  ]);
  expect(code).toBe(plain.code);
  expect(stdout).toBe(plain.stdout);
  expect(read('a.txt')).toBe(plain.stdout);
  expect(read('a.html')).toMatch(/^<!doctype html>/);
  expect(read('a.xml')).toMatch(/^<\?xml/);
  expect(JSON.parse(read('a.sarif'))).toMatchObject({ version: '2.1.0' });
  expect(JSON.parse(read('a.json'))).toEqual(
    JSON.parse((await workshop.run([...AB_BA, '--json'])).stdout),
  );
});

test('one report may take the place of the text; a text with a file leaves nothing to print', async () => {
  const printed = await workshop.run([...AB_BA, '--reporter', 'sarif']);
  expect(JSON.parse(printed.stdout)).toMatchObject({ version: '2.1.0' });
  const silent = await workshop.run([...AB_BA, '--reporter', 'text=a.txt']);
  expect(silent.stdout).toBe('');
  expect(read('a.txt')).toContain('deadlock');
});

test('annotations stand beside the text, and GitHub gets its summary', async () => {
  workshop.write({ 'driver.ts': scenarioFile('yield* mutexLock(thing.lock); thing.value = 1;') });
  const args = ['check', './driver.ts', '--reporter', 'text', '--reporter', 'github'];
  const env = { GITHUB_STEP_SUMMARY: join(workshop.folder, 'summary.md') };
  const { code, stdout } = await workshop.run(args, { env });
  expect(code).toBe(1);
  expect(stdout).toContain('mine only');
  expect(stdout).toMatch(/^::error title=mine only%3A .*file=driver\.ts,line=\d+::/m);
  expect(read('summary.md')).toContain('| ❌ | mine only |');
});

test('what has one execution in a document is written to files with numbers', async () => {
  const args = ['check', 'kfd-unregister', '--variant', 'v5.3'];
  await workshop.run([...args, '--reporter', 'itf=trace.itf.json', '--reporter', 'mermaid=t.mmd']);
  for (const name of ['trace.itf.json', 'trace-2.itf.json']) {
    expect(JSON.parse(read(name))).toMatchObject({ '#meta': { format: 'ITF' } });
  }
  expect(read('t-2.mmd')).toContain('sequenceDiagram');
  const { stdout, stderr } = await workshop.run([...args, '--reporter', 'mermaid']);
  expect(stdout).toBe(read('t.mmd'));
  expect(stderr).toContain('mermaid has one execution in a document; 1 more were left out');
});

test('a replay is reported as well', async () => {
  const { stdout } = await workshop.run([...AB_BA, '--json']);
  const { results } = JSON.parse(stdout) as { results: { violations: { token: string }[] }[] };
  const token = results[0]?.violations[0]?.token ?? '';
  const again = await workshop.run(['replay', token, '--reporter', 'json']);
  expect(JSON.parse(again.stdout)).toMatchObject({
    results: [{ verdict: 'violation', executions: 1, violations: [{ kind: 'deadlock', token }] }],
  });
  expect((await workshop.run(['replay', token, '--reporter', 'html=r.html'])).code).toBe(
    again.code,
  );
  expect(read('r.html')).toContain('deadlock');
});

test('input that cannot be checked is in the report, too', async () => {
  workshop.write({ 'driver.ts': 'export const nothing = 1;' });
  const { code } = await workshop.run(['check', './driver.ts', '--reporter', 'junit=a.xml']);
  expect(code).toBe(2);
  expect(read('a.xml')).toContain('type="MN104"');
});

test.each([
  [['--reporter', 'htlm=a.html'], /expected one of text, json.*Did you mean 'html'\?/s],
  [['--reporter', 'html='], /expected a file after =/],
  [['--reporter', 'sarif', '--json'], /sarif and json would both go to standard output/],
  [['--reporter', 'text', '--json'], /json and text would both go to standard output/],
  [['--reporter', 'github', '--json'], /github and json would both go to standard output/],
  [['--reporter', 'itf=a', '--reporter', 'sarif=a'], /two reports would go to 'a'/],
  [['--reporter', 'html=no/a.html'], /'no\/a\.html' cannot go to 'no': there is no such folder/],
  [['--reporter', 'html=folder'], /'folder' is a folder/],
])('%j is refused before anything is searched', async (options, message) => {
  mkdirSync(join(workshop.folder, 'folder'));
  const { code, stdout, stderr } = await workshop.run([...AB_BA, ...options]);
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
  expect(stdout).toBe('');
});

test('a report that cannot be written is told, and the exit code says so', async (context) => {
  if (!existsSync('/dev/full')) context.skip('needs /dev/full');
  const { code, stderr } = await workshop.run([...AB_BA, '--reporter', 'json=/dev/full']);
  expect(code).toBe(74);
  expect(stderr).toContain('the json report cannot be written: ENOSPC');
});

test('--watch prints text and writes no reports', async () => {
  workshop.write({ 'driver.ts': scenarioFile('') });
  const args = ['check', './driver.ts', '--watch', '--reporter', 'html=a.html'];
  const { code, stderr } = await workshop.run(args);
  expect(code).toBe(2);
  expect(stderr).toContain('leave out --reporter');
});

test('where nothing is found a picture shows one execution, unless none comes to an end', async () => {
  const quiet = scenarioFile('');
  const endless = scenarioFile('for (;;) { yield* change(thing); }');
  workshop.write({ 'quiet.ts': quiet, 'endless.ts': endless });
  await workshop.run(['check', './quiet.ts', '--reporter', 'mermaid=quiet.mmd']);
  expect(read('quiet.mmd')).toContain('mutex_lock(&thing.lock)');
  const args = ['check', './endless.ts', '--max-steps', '50', '--reporter', 'json=endless.json'];
  const { code } = await workshop.run([...args, '--reporter', 'mermaid=endless.mmd']);
  expect(code).toBe(0);
  expect(JSON.parse(read('endless.json'))).toMatchObject({
    results: [{ bound: { kind: 'steps' } }],
  });
  expect(read('endless.mmd')).toBe('');
});

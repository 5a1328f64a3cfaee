/** `replay`: tokens that fit, tokens that do not, and the debugger. */
import { spawn } from 'node:child_process';
import { afterAll, describe, expect, it } from 'vitest';
import { decodeToken, encodeToken, type TokenContent } from '../../src/trace/token.ts';
import { NODES, OWN_STACK, scenarioFile, Workshop } from './mmulab.ts';

const shop = new Workshop();
afterAll(() => shop.remove());

/** Line 8 is the one that races. */
const RACE = scenarioFile(`\n    thing.value += 1;`);
const RACE_LINE = 8;

/** Checks what the arguments name and returns the first token. */
async function tokenOf(...args: string[]): Promise<string> {
  const { stdout } = await shop.run(['check', ...args]);
  const token = /^replay: npx mmulab replay (\S+)$/m.exec(stdout)?.[1];
  if (token === undefined) throw new Error(`no token in:\n${stdout}`);
  return token;
}

function changed(token: string, content: Partial<TokenContent>): string {
  return encodeToken({ ...decodeToken(token), ...content });
}

describe('a token', () => {
  it('leads to the same violation again, in the catalogue', async () => {
    const { stdout } = await shop.run(['check', 'kfd-unregister', '--variant', 'v5.3']);
    const token = /replay (mn2_\S+)/.exec(stdout)?.[1] ?? '';
    const picture = /^ +CPU0[\s\S]*?^needs/m.exec(stdout)?.[0].replace(/\n*needs$/, '') ?? '';
    const { code, stdout: replayed } = await shop.run(['replay', token]);
    expect(picture).toContain('use after free of kfd_process');
    expect(replayed).toContain(picture);
    expect(code).toBe(0);
  });

  it('leads to the same violation again, in a file', async () => {
    shop.write({ 'race.ts': RACE });
    const token = await tokenOf('./race.ts');
    const { code, stdout } = await shop.run(['replay', token]);
    expect(stdout).toContain('BUG: data race on thing.value');
    expect(stdout).toContain(`race.ts:${RACE_LINE}`);
    expect(code).toBe(1);
  });

  it('is one JSON document with --json', async () => {
    shop.write({ 'race.ts': RACE });
    const { code, stdout } = await shop.run(['replay', await tokenOf('./race.ts'), '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      schemaVersion: 1,
      scenario: 'mine',
      variant: 'only',
      divergence: null,
      violations: expect.arrayContaining([
        expect.objectContaining({ kind: 'data-race', object: 'thing.value' }),
      ]),
    });
    expect(code).toBe(1);
  });

  it('still fits when the file has moved, if it is told where to', async () => {
    shop.write({ 'old.ts': RACE, 'new/place.ts': RACE });
    const token = changed(await tokenOf('./old.ts'), { scenario: 'file:gone.ts#mine' });
    const lost = await shop.run(['replay', token]);
    expect(lost.stderr).toContain("there is no file 'gone.ts' (MN103)");
    expect(lost.code).toBe(2);
    const found = await shop.run(['replay', token, './new/place.ts']);
    expect(found.stdout).toContain('new/place.ts:');
    expect(found.code).toBe(1);
  });

  it('says what it is not of this version, and is followed all the same', async () => {
    const token = changed(await tokenOf('program/ab-ba'), { version: '9.9.9' });
    const { code, stdout } = await shop.run(['replay', token]);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain(
      'The token was written by mmulab 9.9.9, this is',
    );
    expect(stdout).toContain('BUG: deadlock');
    expect(stdout).not.toContain('The code has changed');
    expect(code).toBe(0);
    const { stdout: json } = await shop.run(['replay', token, '--json']);
    expect(JSON.parse(json)).toMatchObject({ tokenVersion: '9.9.9', isFollowed: true, edits: [] });
  });

  it('of the first format, which names tasks by their order, is followed as far as that goes', async () => {
    const { version, scenario, variant, schedule } = decodeToken(await tokenOf('program/ab-ba'));
    const { tasks, outcomes } = schedule;
    const old = encodeToken({ version, scenario, variant, schedule: { tasks, outcomes } });
    expect(old).toMatch(/^mn1_/);
    const { code, stdout } = await shop.run(['replay', old]);
    expect(stdout).toContain('BUG: deadlock');
    expect(code).toBe(0);
  });

  it('explains the first step that the changed code does otherwise', async () => {
    shop.write({ 'edited.ts': RACE });
    const token = await tokenOf('./edited.ts');
    const edited = RACE.replace('mutexUnlock, struct', 'mutexUnlock, readOnce, struct').replace(
      'a: { *run(thing: any) {',
      `$& yield* readOnce(thing, 'value');`,
    );
    shop.write({ 'edited.ts': edited });
    const { code, stdout } = await shop.run(['replay', token]);
    expect(stdout.replaceAll(/\s+/g, ' ')).toContain(
      "The code has changed: at step 1 of the token task 'a' has READ_ONCE(thing.value) in addition.",
    );
    expect(stdout).toContain('BUG: data race on thing.value');
    expect(code).toBe(1);
  });
});

describe('a token is refused', () => {
  it.each([
    { token: 'hello', says: 'is no token' },
    { token: 'mn1_', says: 'is no token' },
    { token: 'mn2_', says: 'is no token' },
    { token: 'mn1_BTAuMS4wDXByb2dyYW0vYWItYmECc2MCAAHYguNQ', says: 'checksum' },
    { token: 'mn3_AAAA', says: 'format 3' },
  ])('if it is damaged: $token', async ({ token, says }) => {
    const { code, stdout, stderr } = await shop.run(['replay', token]);
    expect(stderr).toContain(says);
    expect(stderr).toMatch(/\(MN30[12]\)\n$/);
    expect([code, stdout]).toEqual([2, '']);
  });

  it.each<{ title: string; content: Partial<TokenContent>; says: string }>([
    {
      title: 'scenario',
      content: { scenario: 'program/abba' },
      says: "Did you mean 'program/ab-ba'",
    },
    { title: 'variant', content: { variant: 'tso' }, says: "is for variant 'tso'" },
  ])('if it is for another $title', async ({ content, says }) => {
    const token = changed(await tokenOf('program/ab-ba'), content);
    const { code, stdout, stderr } = await shop.run(['replay', token]);
    expect(stderr).toContain(says);
    expect(stderr).toMatch(/\(MN302\)\n$/);
    expect(stderr).not.toMatch(OWN_STACK);
    expect([code, stdout]).toEqual([2, '']);
  });

  it('if its file does not export the scenario any more', async () => {
    shop.write({ 'renamed.ts': RACE });
    const token = await tokenOf('./renamed.ts');
    shop.write({ 'renamed.ts': RACE.replace("'mine'", "'yours'") });
    const { code, stderr } = await shop.run(['replay', token]);
    expect(stderr).toContain(
      "the token is for scenario 'mine', which 'renamed.ts' does not export",
    );
    expect(code).toBe(2);
  });
});

describe.each(NODES)('on %s, --inspect', (node) => {
  it('stops at breakpoints in the file, at its own lines', async () => {
    shop.write({ 'race.ts': RACE });
    const token = await tokenOf('./race.ts');
    const replayed = shop.start(['replay', token, '--inspect'], { node });
    await replayed.until(() => replayed.stderr.includes('set breakpoints'));
    const [, address = ''] = /node inspect (\S+)/.exec(replayed.stderr) ?? [];

    // Node's own debugger for terminals, as a user would run it.
    const terminal = shop.follow(
      spawn(node, ['inspect', address], {
        cwd: shop.folder,
        env: { ...process.env, NO_COLOR: '1', TERM: 'dumb' },
      }),
    );
    const type = (line: string): void => {
      terminal.process.stdin?.write(`${line}\n`);
    };
    await terminal.until(() => /break in \S*inspect-replay/.test(terminal.stdout));
    type(`setBreakpoint('race.ts', ${RACE_LINE})`);
    await terminal.until(() => new RegExp(`> ?${RACE_LINE} `).test(terminal.stdout));
    type('cont');
    await terminal.until(() => terminal.stdout.includes(`break in race.ts:${RACE_LINE}`));
    type('exec thing.memory.name');
    await terminal.until(() => terminal.stdout.includes(`'thing'`));
    type(`clearBreakpoint('race.ts', ${RACE_LINE})`);
    type('cont');
    await replayed.until(() => replayed.stdout.includes('thing.value'));
    type('.exit');
    const [{ code }] = await Promise.all([replayed.ended, terminal.ended]);
    expect(code).toBe(1);
  });
});

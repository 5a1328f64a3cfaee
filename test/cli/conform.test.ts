/** `mmulab conform`: exit codes, the document, and what is refused. */
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ROOT, Workshop } from './mmulab.ts';

const TRACES = join(ROOT, 'test/kernel-traces');
const workshop = new Workshop();
afterAll(() => workshop.remove());

const whole = readFileSync(join(TRACES, 'anon-000.jsonl'), 'utf8');
workshop.write({
  'few/one.jsonl': whole,
  'few/deeper/two.jsonl': readFileSync(join(TRACES, 'fork-000.jsonl'), 'utf8'),
  'few/README.md': 'no recording',
  'wrong.jsonl': whole.replace('"ret":0', '"ret":3'),
  'cut.jsonl': whole.slice(0, 5000),
  'empty/README.md': 'no recording',
  'foreign.jsonl': '{"kernel":"FreeBSD 14"}\n',
});

describe('mmulab conform', () => {
  it('plays what is in folders, and says how much agrees', async () => {
    const { code, stdout, stderr } = await workshop.run(['conform', 'few']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n').map((line) => line.split(/ +/).join(' '))).toEqual([
      'group files calls agree result inv vmas present',
      'fork 1 60 60 60 60 60 60',
      'anon 1 60 60 60 60 60 60',
      'total 2 120 120 120 120 120 120',
      '',
    ]);
  });

  it('prints one document with --json', async () => {
    const { code, stdout } = await workshop.run(['conform', 'wrong.jsonl', 'few', '--json']);
    expect(code).toBe(1);
    const aspects = { inv: 120, vmas: 120, present: 120 };
    expect(JSON.parse(stdout)).toEqual({
      schemaVersion: 1,
      groups: {
        anon: { files: 2, calls: 120, agree: 119, result: 119, ...aspects },
        fork: { files: 1, calls: 60, agree: 60, result: 60, inv: 60, vmas: 60, present: 60 },
      },
      total: { files: 3, calls: 180, agree: 179, result: 179, inv: 180, vmas: 180, present: 180 },
    });
  });

  it('tells the first difference of a file in full, and ends in 1', async () => {
    const { code, stdout } = await workshop.run(['conform', 'wrong.jsonl']);
    expect(code).toBe(1);
    expect(stdout).toContain(
      [
        `wrong.jsonl:2: 'mmap 3 2 r anonp' differs`,
        '  result',
        '    expected  3',
        '    got       0',
        '  (inv, vmas, present agree)',
      ].join('\n'),
    );
  });

  it('plays nothing if a recording is cut off or foreign, and names all that are', async () => {
    const args = ['conform', 'few', 'cut.jsonl', 'foreign.jsonl', '--json'];
    const { code, stdout, stderr } = await workshop.run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(
        /^cut\.jsonl:\d+: the recording is cut off within this line \(MN501\)$/,
      ),
      `foreign.jsonl:1: the header of a recording has no 'files' (MN501)`,
      '',
    ]);
  });

  it.each([
    [['nowhere.jsonl'], `there is no file or folder 'nowhere.jsonl' (MN103)`],
    [['empty'], `there is no recording (*.jsonl) in the folder 'empty' (MN501)`],
    [[], `missing required argument 'path'`],
  ])('refuses %j', async (paths, message) => {
    const { code, stdout, stderr } = await workshop.run(['conform', ...paths]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });

  it('counts a file once that is named twice', async () => {
    copyFileSync(join(TRACES, 'anon-001.jsonl'), join(workshop.folder, 'once.jsonl'));
    const { stdout } = await workshop.run(['conform', 'once.jsonl', './once.jsonl', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ total: { files: 1, calls: 60 } });
  });
});

/**
 * Runs the real command, as it was built (`npm run build`), in a folder of its own.
 *
 * `MMULAB_TEST_NODES` names further Node binaries, separated by colons, on which the tests of what
 * depends on Node's version run as well.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const MAIN = join(ROOT, 'dist/cli/main.js');

export const NODES: readonly string[] = [
  process.execPath,
  ...(process.env['MMULAB_TEST_NODES'] ?? '').split(':').filter((path) => path !== ''),
];

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly node?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A command that is still running. */
export class Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';
  private readonly wishes: { isMet: () => boolean; done: () => void }[] = [];

  constructor(child: ChildProcess) {
    this.process = child;
    child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
      this.check();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
      this.check();
    });
    this.ended = new Promise((done) => {
      child.on('close', (code) => done({ code, stdout: this.stdout, stderr: this.stderr }));
    });
  }

  /** Waits until what was written satisfies `isMet`. */
  async until(isMet: () => boolean): Promise<void> {
    if (isMet()) return;
    const met = new Promise<void>((done) => {
      this.wishes.push({ isMet, done });
    });
    await Promise.race([met, this.ended]);
    if (!isMet()) throw new Error(`it ended first:\n${this.stdout}\n${this.stderr}`);
  }

  private check(): void {
    for (const wish of this.wishes) if (wish.isMet()) wish.done();
  }
}

/** A folder with some files, in which commands run. */
export class Workshop {
  readonly folder = mkdtempSync(join(tmpdir(), 'mmulab-test-'));
  private readonly children: ChildProcess[] = [];

  write(files: Readonly<Record<string, string>>): void {
    for (const [path, text] of Object.entries(files)) {
      const full = join(this.folder, path);
      mkdirSync(dirname(full), { recursive: true });
      writeFileSync(full, text);
    }
  }

  start(args: readonly string[], options: RunOptions = {}): Running {
    const { node = process.execPath, env = {} } = options;
    const { NO_COLOR: _no, FORCE_COLOR: _force, ...inherited } = process.env;
    return this.follow(
      spawn(node, [MAIN, ...args], { cwd: this.folder, env: { ...inherited, ...env } }),
    );
  }

  /** Any other program; it is ended with the workshop. */
  follow(child: ChildProcess): Running {
    this.children.push(child);
    return new Running(child);
  }

  run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
    return this.start(args, options).ended;
  }

  remove(): void {
    for (const child of this.children) if (child.exitCode === null) child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * A file with a scenario of two tasks: `a` locks, changes a value and unlocks; `b` is `body`, which may
 * use `thing`, with its `lock` and its `value`.
 */
export function scenarioFile(body: string, more = ''): string {
  return [
    `import { allocateStatic, defineScenario, fn, mutex, mutexLock, mutexUnlock, struct } from 'mmulab';`,
    `const Thing = struct('thing', { lock: mutex(), value: 0 });`,
    `const change = fn(function* change(thing: any) { yield* mutexLock(thing.lock); thing.value += 1; yield* mutexUnlock(thing.lock); });`,
    `export const scenario = defineScenario({ name: 'mine', variants: { only: {} },`,
    `  setup: (machine: any) => allocateStatic(machine, Thing),`,
    `  tasks: { a: { *run(thing: any) { yield* change(thing); } }, b: { *run(thing: any) {`,
    body,
    `  } } }, ${more} });`,
    '',
  ].join('\n');
}

/** The line at which the body of {@link scenarioFile} begins. */
export const BODY_LINE = 7;

/** Nothing of ours must be in what a user reads. */
export const OWN_STACK = /\bat .*(?:dist|node:internal)/;

/** SPIN: verifies a Promela model by visiting its states. Needs `spin` and a C compiler. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** MiB that a verification may take: where they are not enough it says so. */
export const SPIN_MEBIBYTES_MAX = 1536;
const SECONDS_MAX = 300;

export interface SpinRun {
  readonly states: number;
  /** Processor time of the verification; not of making and compiling it. */
  readonly ms: number;
  /** False if memory or time ran out before all states were visited. */
  readonly isComplete: boolean;
  readonly errors: number;
}

/** The version of SPIN, or null if it is not there. */
export function spinVersion(): string | null {
  const { status, stdout } = spawnSync('spin', ['-V'], { encoding: 'utf8' });
  if (status !== 0 || spawnSync('cc', ['--version']).status !== 0) return null;
  return /Version (\S+)/.exec(stdout)?.[1] ?? null;
}

/** A verifier that can be run again and again. */
export class SpinVerifier {
  private readonly folder = mkdtempSync(join(tmpdir(), 'bench-spin-'));

  constructor(model: string) {
    writeFileSync(join(this.folder, 'model.pml'), model);
    this.call('spin', ['-a', 'model.pml']);
    const flags = ['-O2', '-DSAFETY', `-DMEMLIM=${SPIN_MEBIBYTES_MAX}`, '-w'];
    this.call('cc', [...flags, '-o', 'pan', 'pan.c']);
  }

  private call(command: string, args: readonly string[]): string {
    const { status, stdout, stderr, error } = spawnSync(command, args, {
      cwd: this.folder,
      encoding: 'utf8',
      timeout: SECONDS_MAX * 1000,
    });
    if (error !== undefined || status !== 0) {
      throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stdout + stderr}`);
    }
    return stdout;
  }

  run(): SpinRun {
    const { stdout, stderr, error } = spawnSync('bash', ['-c', 'time ./pan -m100000'], {
      cwd: this.folder,
      encoding: 'utf8',
      env: { ...process.env, TIMEFORMAT: '%U %S' },
      timeout: SECONDS_MAX * 1000,
    });
    const [user = NaN, system = NaN] = (stderr.trim().split('\n').at(-1) ?? '')
      .split(' ')
      .map(Number);
    const ms = (user + system) * 1000;
    const isComplete =
      error === undefined && /errors: \d+/.test(stdout) && !/Search not completed/.test(stdout);
    return {
      states: Number(/([\d.e+]+) states, stored/.exec(stdout)?.[1] ?? NaN),
      ms,
      isComplete,
      errors: Number(/errors: (\d+)/.exec(stdout)?.[1] ?? 0),
    };
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

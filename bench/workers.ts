/**
 * What workers are worth: the built command explores a program with one worker and with several.
 *
 *     npm run build && node bench/start.js workers program/lockinc-9 2
 *
 * On a machine that others use the time on the clock says little. So the processor time of each thread is
 * told as well (Linux): the search takes as long as its busiest thread, if each has a core of its own.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const SAMPLE_MS = 50;
const TICKS_PER_SECOND = 100;
/** Threads that took less are those of the runtime. */
const SECONDS_MIN = 0.3;

interface Run {
  readonly seconds: number;
  /** The most first. */
  readonly threads: readonly number[];
  readonly executions: number;
  readonly steps: number;
}

function runText({ seconds, threads, executions, steps }: Run, who: string): string {
  return (
    `${who.padEnd(12)} ${seconds.toFixed(2)} s on the clock; threads: ` +
    `${threads.map((busy) => `${busy.toFixed(2)} s`).join(', ')}; ${executions} executions, ${steps} steps`
  );
}

export async function workers(scenario: string, count: number): Promise<void> {
  const one = await run(scenario, 1);
  const many = await run(scenario, count);
  const byClock = one.seconds / many.seconds;
  const byThreads = (one.threads[0] ?? 0) / (many.threads[0] ?? 1);
  process.stdout.write(
    `${scenario}\n${runText(one, '1 worker')}\n${runText(many, `${count} workers`)}\n` +
      `${byClock.toFixed(2)} times as fast by the clock, ${byThreads.toFixed(2)} by the busiest thread\n`,
  );
}

function run(scenario: string, count: number): Promise<Run> {
  const start = performance.now();
  const args = [MAIN, 'check', scenario, '--workers', String(count), '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ticks = new Map<string, number>();
  const sampler = setInterval(() => sample(child.pid ?? 0, ticks), SAMPLE_MS);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  return new Promise((resolve) => {
    child.on('close', () => {
      clearInterval(sampler);
      const { results } = JSON.parse(output) as {
        readonly results: readonly { readonly executions: number; readonly steps: number }[];
      };
      const threads = [...ticks.values()]
        .map((used) => used / TICKS_PER_SECOND)
        .filter((seconds) => seconds >= SECONDS_MIN)
        .toSorted((a, b) => b - a);
      const { executions = 0, steps = 0 } = results[0] ?? {};
      resolve({ seconds: (performance.now() - start) / 1000, threads, executions, steps });
    });
  });
}

/** Notes the processor time of each thread so far. */
function sample(pid: number, ticks: Map<string, number>): void {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks.set(thread, Number(fields[11]) + Number(fields[12]));
    }
  } catch {
    // It has ended, or this is no Linux.
  }
}

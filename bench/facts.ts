/** On what a report was measured. The date is given or that of the last commit: no clock is asked. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { spinVersion } from './peer/spin.ts';

function git(...args: string[]): string | null {
  const { status, stdout } = spawnSync('git', args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

function versionOf(path: string): string {
  const text = readFileSync(new URL(path, import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** One line. */
export function facts(date: string | null): string {
  const commit = git('rev-parse', '--short', 'HEAD');
  const when = date ?? git('log', '-1', '--format=%cs') ?? 'date not given';
  const cores = cpus();
  const spin = spinVersion();
  return [
    `Measured ${when}`,
    `mmulab ${versionOf('../package.json')}${commit === null ? '' : ` at ${commit}`}`,
    `Node ${process.versions.node} (V8 ${process.versions.v8})`,
    spin === null ? 'without SPIN' : `SPIN ${spin}`,
    `fast-check ${versionOf('../node_modules/fast-check/package.json')}`,
    `${cores.length} × ${cores[0]?.model.trim() ?? 'unknown processor'}, ${process.platform}`,
  ].join('; ');
}

/**
 * Long searches in the exploring worker: what is saved, gone on with and put together, variant by variant.
 */
import { createHash } from 'node:crypto';
import { CHECKPOINT_SECONDS } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Program } from '../check/program.ts';
import { replay } from '../check/replay.ts';
import type { Parts, SavedVariant, SearchTeam } from '../check/search-parts.ts';
import type { Tracer } from '../kernel/watch.ts';
import type { CheckRequest, LongWishes } from './protocol.ts';
import {
  readSearchFile,
  writeSearchFile,
  type SearchEntry,
  type SearchFile,
} from './search-file.ts';

/** Runs between two looks at the clock. */
const RUNS_PER_LOOK = 8;

export class LongRun {
  private readonly wishes: LongWishes;
  private readonly path: string | null;
  private readonly content: Omit<SearchFile, 'entries'>;
  private readonly entries = new Map<string, SearchEntry>();
  private dueAt = 0;
  private runs = 0;

  /** @throws UsageError MN304 if what is to be gone on with is not what is asked for. */
  constructor(request: CheckRequest, wishes: LongWishes) {
    const { resume } = wishes;
    this.wishes = wishes;
    this.path = wishes.checkpoint ?? resume;
    const { target, variants, stepCountMax, bounds } = request;
    const variant = variants.kind === 'one' ? variants.name : null;
    const { preemptions = null, shortest = false } = bounds;
    const { shard } = wishes;
    this.content = { target, variant, stepCountMax, preemptions, shortest, shard };
    if (resume === null) return;
    const { entries, ...saved } = readSearchFile(resume);
    if (JSON.stringify(saved) !== JSON.stringify(this.content)) {
      throw new UsageError(
        'MN304',
        `'${resume}' is about ${asked(saved)}, and what is asked for is ${asked(this.content)}. Give the ` +
          'same scenario or file, --variant, --max-steps, --preemptions, --shortest and --shard as when it ' +
          'was begun.',
      );
    }
    for (const entry of entries) this.entries.set(keyOf(entry.scenario, entry.variant), entry);
  }

  /** How to search a variant. */
  partsOf(scenario: string, variant: string, program: Program, team: SearchTeam | null): Parts {
    const fingerprint = fingerprintOf(program);
    const key = keyOf(scenario, variant);
    const known = this.entries.get(key);
    if (known !== undefined && known.fingerprint !== fingerprint) {
      throw new UsageError(
        'MN303',
        `the search cannot be resumed: ${scenario} (${variant}) is another now, its first execution takes ` +
          'other steps than when the search was begun. Begin anew, without --resume.',
      );
    }
    this.dueAt = performance.now() + secondsBetween() * 1000;
    const write = (saved: SavedVariant, isOver: boolean): void => {
      this.entries.set(key, { scenario, variant, fingerprint, isOver, saved });
      if (this.path === null) return;
      writeSearchFile(this.path, { ...this.content, entries: [...this.entries.values()] });
      this.dueAt = performance.now() + secondsBetween() * 1000;
    };
    return {
      shard: this.wishes.shard,
      resume: known?.saved ?? null,
      ...(team === null ? {} : { team }),
      isRestWanted: () => this.isDue(),
      atRest: (save, isLast) => {
        if (this.path === null || (!isLast && performance.now() < this.dueAt)) return;
        const saved = save();
        write(saved, saved.result.isComplete);
      },
    };
  }

  private isDue(): boolean {
    this.runs += 1;
    if (this.path === null || this.runs % RUNS_PER_LOOK !== 0) return false;
    return performance.now() >= this.dueAt;
  }
}

function keyOf(scenario: string, variant: string): string {
  return JSON.stringify([scenario, variant]);
}

/** More often in tests. */
function secondsBetween(): number {
  const given = Number(process.env['MMULAB_CHECKPOINT_SECONDS']);
  return given > 0 ? given : CHECKPOINT_SECONDS;
}

function asked(content: Omit<SearchFile, 'entries'>): string {
  const { target, variant, stepCountMax, preemptions, shortest, shard } = content;
  let what = 'the catalogue';
  if (target.kind === 'scenario') what = target.name;
  if (target.kind === 'file') what = target.path;
  if (variant !== null) what += ` --variant ${variant}`;
  if (stepCountMax !== null) what += ` --max-steps ${stepCountMax}`;
  if (preemptions !== null) what += ` --preemptions ${preemptions}`;
  if (shortest) what += ' --shortest';
  if (shard !== null) what += ` --shard ${shard.index + 1}/${shard.count}`;
  return what;
}

function nothing(): void {}

/** What the first execution does, as a hash. Of one that cannot be run, the search tells better. */
export function fingerprintOf(program: Program): string {
  const hash = createHash('sha256');
  const tracer: Tracer = {
    onMade: nothing,
    onStep: (task, _operation, description) => hash.update(`${task.name}: ${description}\n`),
    onResult: nothing,
    onCall: (task, call) => hash.update(`${task.name}: ${call.callee.name}()\n`),
    onReturn: nothing,
    onNote: nothing,
  };
  try {
    const { kernel } = replay(program, { tasks: [], outcomes: [] }, { tracer, toEnd: true });
    for (const task of kernel.tasks) hash.update(`task ${task.name}\n`);
  } catch {
    return 'none';
  }
  return hash.digest('hex');
}

function refuse(message: string): never {
  throw new UsageError('MN304', `the files cannot be merged: ${message}`);
}

/**
 * Reads shards that are to be put together.
 *
 * @throws UsageError MN304 if they are not all the parts of one search
 */
export function readShards(paths: readonly string[]): readonly SearchFile[] {
  const files = paths.map((path) => readSearchFile(path));
  const [first] = files;
  if (first === undefined) return refuse('there are none');
  const seen = new Map<number, string>();
  for (const [at, file] of files.entries()) {
    const path = paths[at] as string;
    const { shard } = file;
    if (shard === null) return refuse(`'${path}' is a search of its own, made without --shard`);
    const one = { ...file, shard: null, entries: [] };
    if (JSON.stringify(one) !== JSON.stringify({ ...first, shard: null, entries: [] })) {
      refuse(`'${path}' is about ${asked(file)}, and '${paths[0] ?? ''}' about ${asked(first)}`);
    }
    if (shard.count !== first.shard?.count) {
      refuse(
        `'${path}' is one of ${shard.count} parts, the first file one of ${first.shard?.count ?? 0}`,
      );
    }
    const twin = seen.get(shard.index);
    if (twin !== undefined) refuse(`'${twin}' and '${path}' are both part ${shard.index + 1}`);
    seen.set(shard.index, path);
  }
  const count = first.shard?.count ?? 0;
  const missing = Array.from({ length: count }, (_, at) => at).filter((at) => !seen.has(at));
  if (missing.length > 0) {
    refuse(
      `of ${count} parts ${missing.map((at) => `${at + 1}/${count}`).join(', ')} ` +
        `${missing.length === 1 ? 'is' : 'are'} missing`,
    );
  }
  return files;
}

/** The parts of one variant. @throws UsageError MN304 if one has not got to it, MN303 if it has changed. */
export function partsToMerge(
  files: readonly SearchFile[],
  paths: readonly string[],
  { scenario, variant, program }: { scenario: string; variant: string; program: Program },
): Parts {
  const fingerprint = fingerprintOf(program);
  const parts = files.map((file, at) => {
    const entry = file.entries.find((one) => one.scenario === scenario && one.variant === variant);
    if (entry === undefined) {
      throw new UsageError(
        'MN304',
        `the files cannot be merged: '${paths[at] ?? ''}' has not come to ${scenario} (${variant}). ` +
          'Go on with it first, with --resume.',
      );
    }
    if (entry.fingerprint !== fingerprint) {
      throw new UsageError(
        'MN303',
        `'${paths[at] ?? ''}' does not fit: ${scenario} (${variant}) is another now than when it was explored`,
      );
    }
    return { index: file.shard?.index ?? 0, saved: entry.saved };
  });
  parts.sort((a, b) => a.index - b.index);
  return { merged: parts.map(({ saved }) => saved) };
}

/** `mmulab check`: runs every interleaving of scenarios, of the catalogue or of one's own files. */
import { SAMPLE_COUNT_DEFAULT } from '../../base/limits.ts';
import type { SamplerName } from '../../check/sampler/sampler.ts';
import type { SamplingPlan } from '../../check/sampler/sampling.ts';
import type { Shard } from '../../check/shared-tree.ts';
import type { Invocation } from '../commands.ts';
import { coverageText, mergeCoverage } from '../coverage.ts';
import { EXIT_USAGE, worstExitCode } from '../exit-code.ts';
import { columns, hasColor, writeNote, writeResult } from '../output.ts';
import type { ReportTarget } from '../report-target.ts';
import { Reports } from '../reporters.ts';
import type { CheckRequest, Target } from '../protocol.ts';
import { runInWorker, type Outcome } from '../supervise.ts';
import { watchFiles } from '../watch-files.ts';

/** What names a file rather than a scenario: `program/ab-ba` is one of the catalogue. */
const FILE = /^(?:\.{0,2}\/|[A-Za-z]:\\)|\.[cm]?[jt]sx?$/;

interface CheckOptions {
  readonly variant?: string;
  readonly all?: boolean;
  readonly bail?: boolean;
  readonly json?: boolean;
  readonly reporter?: readonly ReportTarget[];
  readonly watch?: boolean;
  readonly maxExecutions?: number;
  readonly maxSteps?: number;
  readonly timeout?: number;
  readonly sample?: SamplerName;
  readonly samples?: number;
  readonly seed?: number;
  readonly depth?: number;
  readonly progress?: boolean;
  readonly preemptions?: number;
  readonly shortest?: boolean;
  readonly boundsFirst?: boolean;
  readonly workers?: number;
  readonly checkpoint?: string;
  readonly resume?: string;
  readonly shard?: Shard;
  readonly coverage?: boolean;
}

const SEED_DEFAULT = 1;

export async function check({ args, options: given }: Invocation): Promise<number> {
  const options = given as CheckOptions;
  const targets: Target[] = args.map((arg) =>
    FILE.test(arg) ? { kind: 'file', path: arg } : { kind: 'scenario', name: arg },
  );
  if (options.all === true) targets.push({ kind: 'catalogue' });
  const problem = problemWith(targets, options) ?? reportsOf(options).problem();
  if (problem !== null) {
    writeNote(`mmulab: ${problem}`);
    return EXIT_USAGE;
  }
  if (options.watch !== true) return checkOnce(targets, options, null);
  const files = targets.flatMap((target) => (target.kind === 'file' ? [target.path] : []));
  return watchFiles(files, (signal) => checkOnce(targets, options, signal));
}

function problemWith(targets: readonly Target[], options: CheckOptions): string | null {
  if (targets.length === 0) {
    return `nothing to check: name a scenario, a file like ./driver.ts, or --all ('mmulab list' shows the scenarios)`;
  }
  const problem =
    problemWithSampling(options) ??
    problemWithBounds(options) ??
    problemWithParts(targets, options);
  if (problem !== null) return problem;
  if (options.watch !== true) return null;
  if (options.json === true) return '--watch prints more than one result, --json exactly one';
  if (options.reporter !== undefined) return '--watch prints text: leave out --reporter';
  return targets.every((target) => target.kind === 'file') ? null : '--watch needs a file to watch';
}

function problemWithSampling(options: CheckOptions): string | null {
  const { sample, samples, seed, depth, maxExecutions } = options;
  if (depth !== undefined && sample !== 'pct') return '--depth is for --sample pct';
  if (sample !== undefined) {
    return maxExecutions === undefined
      ? null
      : 'with --sample, --samples says how many executions there are, not --max-executions';
  }
  if (samples === undefined && seed === undefined) return null;
  return `${samples === undefined ? '--seed' : '--samples'} needs --sample`;
}

function problemWithBounds(options: CheckOptions): string | null {
  const { sample, preemptions, shortest, boundsFirst } = options;
  if (shortest === true && boundsFirst === true) {
    return '--shortest stops at the first violation, --bounds-first goes on to the whole: give one of them';
  }
  if (sample === undefined) return null;
  if (shortest === true) return '--sample finds no shortest violation: leave out --shortest';
  const isBounded = preemptions !== undefined || boundsFirst === true;
  return isBounded ? 'what --sample draws has any number of preemptions' : null;
}

function problemWithParts(targets: readonly Target[], options: CheckOptions): string | null {
  const { workers, checkpoint, resume, shard, sample, preemptions, shortest, boundsFirst } =
    options;
  const wishes = { workers, checkpoint, resume, shard };
  const [first] = Object.entries(wishes).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`],
  );
  if (first === undefined) return null;
  if (shard !== undefined && checkpoint === undefined && resume === undefined) {
    return `--shard needs --checkpoint FILE: that is what 'mmulab merge' puts together`;
  }
  if (sample !== undefined) return `${first} is for a search of everything: leave out --sample`;
  if (boundsFirst === true) return `--bounds-first is many searches: leave out ${first}`;
  const isBounded = preemptions !== undefined || shortest === true;
  if (isBounded && (workers !== undefined || shard !== undefined)) {
    const cannot = workers === undefined ? '--shard' : '--workers';
    return `a search with a bound on preemptions cannot be parted: leave out ${cannot}`;
  }
  if (options.watch === true) return `${first} is for long searches, --watch for short ones`;
  const isSaved = checkpoint !== undefined || resume !== undefined;
  if (targets.length > 1 && isSaved) {
    return 'a checkpoint is of one scenario, one file or --all: name one of them';
  }
  return null;
}

function longWishes({
  workers,
  checkpoint,
  resume,
  shard,
}: CheckOptions): Pick<CheckRequest, 'long'> {
  const isLong = [workers, checkpoint, resume, shard].some((one) => one !== undefined);
  if (!isLong) return {};
  return {
    long: {
      workers: workers ?? 1,
      checkpoint: checkpoint ?? null,
      resume: resume ?? null,
      shard: shard ?? null,
    },
  };
}

function reportsOf({ reporter = [], json }: CheckOptions): Reports {
  return new Reports(reporter, json === true);
}

function samplingPlan({ sample, samples, seed, depth }: CheckOptions): SamplingPlan | null {
  if (sample === undefined) return null;
  return {
    method: sample,
    samples: samples ?? SAMPLE_COUNT_DEFAULT,
    seed: seed ?? SEED_DEFAULT,
    ...(depth === undefined ? {} : { depth }),
  };
}

async function checkOnce(
  targets: readonly Target[],
  options: CheckOptions,
  signal: AbortSignal | null,
): Promise<number> {
  const reports = reportsOf(options);
  const { hasText } = reports;
  const outcomes: Outcome[] = [];
  for (const target of targets) {
    const request: CheckRequest = {
      kind: 'check',
      target,
      variants:
        options.variant === undefined ? { kind: 'all' } : { kind: 'one', name: options.variant },
      doesBail: options.bail === true,
      stepCountMax: options.maxSteps ?? null,
      executionCountMax: options.maxExecutions ?? null,
      secondsMax: options.timeout ?? null,
      sampling: samplingPlan(options),
      bounds: {
        shortest: options.shortest === true,
        boundsFirst: options.boundsFirst === true,
        ...(options.preemptions === undefined ? {} : { preemptions: options.preemptions }),
      },
      coverage: options.coverage === true,
      ...longWishes(options),
      view: {
        isJson: !hasText,
        ...reports.wish,
        hasColor: hasText && hasColor(process.stdout),
        columns: columns(target.kind === 'file'),
        isBrief: false,
      },
    };
    const outcome = await runInWorker(request, writeResult, {
      signal,
      showsProgress: options.progress === true,
    });
    outcomes.push(outcome);
    if (outcome.wasInterrupted) break;
  }
  const coverage = mergeCoverage(outcomes.flatMap((outcome) => outcome.coverage));
  if (options.coverage === true && hasText) writeResult(coverageText(coverage));
  const written = reports.write({
    variants: outcomes.flatMap((outcome) => outcome.reports),
    failures: outcomes.flatMap((outcome) => outcome.failures),
    ...(options.coverage === true ? { coverage } : {}),
  });
  return worstExitCode([...outcomes.map((outcome) => outcome.exitCode), written]);
}

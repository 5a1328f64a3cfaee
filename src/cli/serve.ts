/**
 * What the worker does (worker.ts): everything that executes a user's code, or explores, is here. It may be
 * ended at any moment; what it has to say it says as messages (protocol.ts).
 */
import { parentPort } from 'node:worker_threads';
import {
  checkVariant,
  type CheckOptions,
  type Progress,
  type WithSchedule,
} from '../check/check-variant.ts';
import type { Bound, VariantResult } from '../check/result.ts';
import { programOf, type AnyScenario } from '../check/scenario.ts';
import { InternalError } from '../base/assert.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Counters } from './counters.ts';
import { noteLoaded, takeCoverage } from './coverage.ts';
import { exitCodeOf } from './exit-code.ts';
import { findNamedScenario, findVariant } from './find-scenario.ts';
import { Guard } from './guard.ts';
import { locate } from './locate.ts';
import { LongRun, partsToMerge, readShards } from './long-run.ts';
import { Lookout } from './lookout.ts';
import { displayPath, userPlace } from './place.ts';
import { presentCheck, presentReplay, presentStub, type Origin } from './present.ts';
import type {
  CheckRequest,
  MergeRequest,
  Message,
  ReplayRequest,
  Request,
  Target,
  VariantChoice,
  View,
} from './protocol.ts';
import { openToken } from './open-token.ts';
import type { ThreadTeam } from './thread-team.ts';

let counters: Counters;
let lookout: Lookout;

function post(message: Message): void {
  parentPort?.postMessage(message);
}

function postError(error: unknown, scenario: AnyScenario | null, variant: string): void {
  const known = asUsageError(error);
  if (known === null) {
    post({ kind: 'broken', text: error instanceof Error ? (error.stack ?? '') : String(error) });
    return;
  }
  const { code, message } = known;
  const place =
    scenario === null
      ? known.place
      : locate({
          error: known,
          program: programOf(lookout.watch(scenario), variant),
          kernel: lookout.presentKernel,
        });
  post({ kind: 'failed', failure: { code, message, place } });
}

/** What is the user's mistake, as such; null if it is ours. */
function asUsageError(error: unknown): UsageError | null {
  if (error instanceof UsageError) return error;
  if (error instanceof InternalError) return null;
  // Set-up, `finally` and the like: code of the user that no task runs.
  const place = error instanceof Error ? userPlace(error.stack ?? '') : null;
  if (place === null) return null;
  return new UsageError('MN201', `set-up or 'finally' threw ${String(error)}`, place);
}

async function check(request: CheckRequest, team: ThreadTeam | null): Promise<void> {
  const { target } = request;
  const file = target.kind === 'file' ? displayPath(target.path) : null;
  const long = request.long === undefined ? null : new LongRun(request, request.long);
  const explore: Explore = (scenario, variant) => {
    if (long === null) return exploreAlone(scenario, variant, request);
    const { stepCountMax, doesBail } = request;
    const { name } = scenario;
    const order = { target, scenario: name, variant, stepCountMax, doesBail };
    const program = programOf(scenario, variant);
    const parts = long.partsOf(name, variant, program, team?.forVariant(order) ?? null);
    return exploreAlone(scenario, variant, request, { parts });
  };
  const scenarios = await targets(target);
  if (request.coverage) noteLoaded();
  for (const [scenario, variants] of choose(scenarios, request.variants)) {
    checkScenario(scenario, variants, { explore, view: request.view, file });
  }
  team?.end();
  if (request.coverage) post({ kind: 'coverage', files: takeCoverage() });
}

/** How to get the result of one variant, and how to show it. */
interface Way {
  readonly explore: Explore;
  readonly view: View;
  readonly file: string | null;
}

type Explore = (scenario: AnyScenario, variant: string) => VariantResult;

/** Puts the parts of a search together. */
async function merge({ files: paths, view }: MergeRequest): Promise<void> {
  const files = readShards(paths);
  const [first] = files;
  if (first === undefined) return;
  const { target, variant, stepCountMax, preemptions, shortest } = first;
  const file = target.kind === 'file' ? displayPath(target.path) : null;
  const choice: VariantChoice = variant === null ? { kind: 'all' } : { kind: 'one', name: variant };
  const explore: Explore = (scenario, name) => {
    const subject = { scenario: scenario.name, variant: name, program: programOf(scenario, name) };
    const parts = partsToMerge(files, paths, subject);
    return checkVariant(scenario, name, {
      parts,
      shortest,
      ...(preemptions === null ? {} : { preemptions }),
      ...(stepCountMax === null ? {} : { stepCountMax }),
    });
  };
  for (const [scenario, variants] of choose(await targets(target), choice)) {
    checkScenario(scenario, variants, { explore, view, file });
  }
}

async function targets(target: Target): Promise<readonly AnyScenario[]> {
  if (target.kind === 'catalogue') return (await import('../catalogue/index.ts')).SCENARIOS;
  // A parser comes with it, which takes long to load.
  if (target.kind === 'file') return (await import('./load-file.ts')).loadScenarios(target.path);
  return [await findNamedScenario(target.name)];
}

/** Which variants of which scenarios to check. */
function choose(
  scenarios: readonly AnyScenario[],
  choice: VariantChoice,
): (readonly [AnyScenario, readonly string[]])[] {
  if (choice.kind === 'all') return scenarios.map((one) => [one, Object.keys(one.variants)]);
  if (choice.kind === 'demo') return scenarios.map((one) => [one, demoVariants(one)]);
  const having = scenarios.filter((one) => Object.hasOwn(one.variants, choice.name));
  // With none, the first says what it has.
  const chosen = having.length > 0 ? having : scenarios.slice(0, 1);
  return chosen.map((one) => [one, [findVariant(one, choice.name)]]);
}

/** The first that is expected to be violated and the first that is expected to be clean. */
function demoVariants(scenario: AnyScenario): string[] {
  const names = Object.keys(scenario.variants);
  const wanted = ['violation', 'clean'].flatMap(
    (verdict) => names.find((name) => scenario.variants[name]?.expect?.verdict === verdict) ?? [],
  );
  return wanted.length > 0 ? wanted : names;
}

function checkScenario(scenario: AnyScenario, variants: readonly string[], way: Way): void {
  const { file } = way;
  for (const variant of variants) {
    if (counters.isAskedToStop) return;
    post({
      kind: 'started',
      name: `${scenario.name} (${variant})`,
      stub: presentStub({ scenario, variant, file }),
    });
    try {
      checkOne(scenario, variant, way);
    } catch (error) {
      postError(error, scenario, variant);
      // The other variants share the code that is wrong.
      return;
    }
  }
}

function checkOne(scenario: AnyScenario, variant: string, { explore, view, file }: Way): void {
  const watched = lookout.watch(scenario);
  const guard = file === null ? null : new Guard(programOf(watched, variant));
  guard?.before();
  const result = explore(watched, variant);
  guard?.compare();
  const origin: Origin = { scenario: watched, variant, file };
  const { text, json, report } = presentCheck(result, origin, view);
  post({ kind: 'result', text, json, report, exitCode: exitCodeOf(result) });
}

function exploreAlone(
  scenario: AnyScenario,
  variant: string,
  request: CheckRequest,
  more: Pick<CheckOptions, 'parts'> = {},
): VariantResult {
  const { doesBail, stepCountMax, executionCountMax, secondsMax, sampling, bounds } = request;
  const startedAt = performance.now();
  const seconds = (): number => (performance.now() - startedAt) / 1000;
  counters.noteProgress(0, 0);
  counters.noteRemaining(null);
  const boundReached = (progress: Progress): Bound | null => {
    const { executions } = progress;
    counters.noteProgress(executions, progress.depth);
    if (counters.isAskedWhatRemains) counters.noteRemaining(progress.estimate());
    if (secondsMax !== null && seconds() >= secondsMax) {
      return { kind: 'time', limit: secondsMax, isRequested: true };
    }
    if (!counters.isAskedToStop) return null;
    return { kind: 'interrupted', limit: executions, isRequested: true };
  };
  return checkVariant(scenario, variant, {
    bail: doesBail,
    boundReached,
    ...more,
    ...bounds,
    ...(stepCountMax === null ? {} : { stepCountMax }),
    ...(executionCountMax === null ? {} : { executionCountMax }),
    ...(sampling === null ? {} : { sampling }),
  });
}

async function replay(request: ReplayRequest): Promise<void> {
  const opened = await openToken(request.token, request.file);
  const { scenario, variant, schedule, file } = opened;
  const watched = lookout.watch(scenario);
  post({ kind: 'started', name: `${scenario.name} (${variant})`, stub: null });
  try {
    const origin: Origin = { scenario: watched, variant, file };
    const { text, json, report, exitCode } = presentReplay(opened, origin, request.view);
    post({ kind: 'result', text, json, report, exitCode });
  } catch (error) {
    if (typeof error === 'object' && error !== null) {
      Object.assign(error, { schedule } satisfies WithSchedule);
    }
    postError(error, watched, variant);
  }
}

/** Does what is asked for, and says so. Errors are said as well. Call once in a thread. */
export async function serve(
  request: Request,
  own: Counters,
  team: ThreadTeam | null,
): Promise<void> {
  counters = own;
  lookout = new Lookout(own);
  try {
    if (request.kind === 'check') await check(request, team);
    else if (request.kind === 'merge') await merge(request);
    else if (request.kind === 'replay') await replay(request);
    else {
      const { judgeRequest } = await import('./claim-worker.ts');
      const onVariant = (name: string): void => post({ kind: 'started', name, stub: null });
      post(await judgeRequest(request, own, lookout, onVariant));
    }
  } catch (error) {
    postError(error, null, '');
  }
  post({ kind: 'done' });
}

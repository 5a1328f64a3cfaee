/**
 * The worker in which scenarios run: everything that executes a user's code, or explores, is here.
 * It may be ended at any moment; what it has to say it says as messages (protocol.ts).
 */
import { parentPort, workerData } from 'node:worker_threads';
import { checkVariant, type Progress, type WithSchedule } from '../check/check-variant.ts';
import type { Bound, VariantResult } from '../check/result.ts';
import { programOf, type AnyScenario } from '../check/scenario.ts';
import { InternalError } from '../base/assert.ts';
import { UsageError } from '../base/usage-error.ts';
import { SCENARIOS } from '../catalogue/index.ts';
import { judgeRequest } from './claim-worker.ts';
import { Counters } from './counters.ts';
import { exitCodeOf } from './exit-code.ts';
import { findNamedScenario, findVariant } from './find-scenario.ts';
import { Guard } from './guard.ts';
import { loadScenarios } from './load-file.ts';
import { locate } from './locate.ts';
import { Lookout } from './lookout.ts';
import { displayPath, userPlace } from './place.ts';
import { presentCheck, presentReplay, presentStub, type Origin } from './present.ts';
import type {
  CheckRequest,
  Message,
  ReplayRequest,
  Target,
  VariantChoice,
  WorkerInput,
} from './protocol.ts';
import { openToken } from './open-token.ts';

const input = workerData as WorkerInput;
const counters = new Counters(input.counters);
const lookout = new Lookout(counters);

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

async function check(request: CheckRequest): Promise<void> {
  const { target } = request;
  const file = target.kind === 'file' ? displayPath(target.path) : null;
  for (const [scenario, variants] of choose(await targets(target), request.variants)) {
    checkScenario(scenario, variants, request, file);
  }
}

async function targets(target: Target): Promise<readonly AnyScenario[]> {
  if (target.kind === 'catalogue') return SCENARIOS;
  if (target.kind === 'file') return loadScenarios(target.path);
  return [findNamedScenario(target.name)];
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

function checkScenario(
  scenario: AnyScenario,
  variants: readonly string[],
  request: CheckRequest,
  file: string | null,
): void {
  for (const variant of variants) {
    if (counters.isAskedToStop) return;
    post({
      kind: 'started',
      name: `${scenario.name} (${variant})`,
      stub: presentStub({ scenario, variant, file }),
    });
    try {
      checkOne(scenario, variant, request, file);
    } catch (error) {
      postError(error, scenario, variant);
      // The other variants share the code that is wrong.
      return;
    }
  }
}

function checkOne(
  scenario: AnyScenario,
  variant: string,
  request: CheckRequest,
  file: string | null,
): void {
  const watched = lookout.watch(scenario);
  const guard = file === null ? null : new Guard(programOf(watched, variant));
  guard?.before();
  const result = explore(watched, variant, request);
  guard?.compare();
  const origin: Origin = { scenario: watched, variant, file };
  const { text, json, report } = presentCheck(result, origin, request.view);
  post({ kind: 'result', text, json, report, exitCode: exitCodeOf(result) });
}

function explore(scenario: AnyScenario, variant: string, request: CheckRequest): VariantResult {
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
    ...bounds,
    ...(stepCountMax === null ? {} : { stepCountMax }),
    ...(executionCountMax === null ? {} : { executionCountMax }),
    ...(sampling === null ? {} : { sampling }),
  });
}

async function replay(request: ReplayRequest): Promise<void> {
  const { scenario, variant, schedule, file } = await openToken(request.token, request.file);
  const watched = lookout.watch(scenario);
  post({ kind: 'started', name: `${scenario.name} (${variant})`, stub: null });
  try {
    const origin: Origin = { scenario: watched, variant, file };
    const { text, json, report, exitCode } = presentReplay(schedule, origin, request.view);
    post({ kind: 'result', text, json, report, exitCode });
  } catch (error) {
    if (typeof error === 'object' && error !== null) {
      Object.assign(error, { schedule } satisfies WithSchedule);
    }
    postError(error, watched, variant);
  }
}

try {
  const { request } = input;
  if (request.kind === 'claim') {
    const onVariant = (name: string): void => post({ kind: 'started', name, stub: null });
    post(await judgeRequest(request, counters, lookout, onVariant));
  } else await (request.kind === 'check' ? check(request) : replay(request));
} catch (error) {
  postError(error, null, '');
}
post({ kind: 'done' });

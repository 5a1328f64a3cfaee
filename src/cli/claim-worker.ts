/** The part of the worker that judges claims. */
import { SCENARIOS } from '../catalogue/index.ts';
import type { AnyScenario } from '../check/scenario.ts';
import { UsageError } from '../base/usage-error.ts';
import { judgeClaim, type ClaimVerdict } from '../claim/judge.ts';
import type { SearchBound, Subject } from '../claim/subject.ts';
import { WordIndex } from '../claim/word-index.ts';
import type { Counters } from './counters.ts';
import { EXIT_FINDING, EXIT_LIMIT, EXIT_OK, EXIT_USAGE } from './exit-code.ts';
import { findNamedScenario, findVariant } from './find-scenario.ts';
import { loadScenarios } from './load-file.ts';
import type { Lookout } from './lookout.ts';
import { nearest, suggestion } from './nearest.ts';
import { displayPath, resolvePlace } from './place.ts';
import { presentClaim } from './present-claim.ts';
import type { ClaimRequest, Message } from './protocol.ts';

const EXIT_OF: Readonly<Record<ClaimVerdict, number>> = {
  reachable: EXIT_OK,
  'not-reachable': EXIT_FINDING,
  ambiguous: EXIT_USAGE,
  undecided: EXIT_LIMIT,
};

/** Judges the claim of a request. `onVariant` is told which variant is searched now. */
export async function judgeRequest(
  request: ClaimRequest,
  counters: Counters,
  lookout: Lookout,
  onVariant: (name: string) => void,
): Promise<Message> {
  const { source, variant, executionCountMax, view } = request;
  const scenarios = await scenariosOf(request);
  const startedAt = performance.now();
  const isOver = (executions: number): SearchBound | null => {
    counters.noteProgress(executions, 0);
    const seconds = (performance.now() - startedAt) / 1000;
    const { secondsMax } = request;
    if (secondsMax !== null && seconds >= secondsMax) return { kind: 'time', limit: secondsMax };
    return counters.isAskedToStop ? { kind: 'interrupted', limit: executions } : null;
  };
  const answer = judgeClaim(source, {
    scenarios,
    catalogue: SCENARIOS,
    index: request.file === null ? await wordIndex() : null,
    variant: variant === null || scenarios === null ? variant : variantOf(scenarios, variant),
    nearest,
    resolvePlace,
    isOver,
    watch: (scenario) => lookout.watch(scenario),
    onVariant: ({ scenario, variant: name }: Subject) => {
      counters.noteProgress(0, 0);
      onVariant(`${scenario.name} (${name})`);
    },
    ...(executionCountMax === null ? {} : { executionCountMax }),
  });
  const file = request.file === null ? null : displayPath(request.file);
  const { text, json } = presentClaim(answer, file, view);
  return { kind: 'result', text, json, report: null, exitCode: EXIT_OF[answer.verdict] };
}

/** Where to look for a claim that names no scenario, and what else there is for names that one does not know. */
async function wordIndex(): Promise<WordIndex> {
  const { WORDS } = await import('../catalogue/words.ts');
  return new WordIndex(WORDS);
}

/** The scenarios that are meant; null to find out. */
async function scenariosOf({
  scenario,
  file,
}: ClaimRequest): Promise<readonly AnyScenario[] | null> {
  if (file === null) return scenario === null ? null : [await findNamedScenario(scenario)];
  const all = await loadScenarios(file);
  if (scenario === null) return all;
  const found = all.filter(({ name }) => name === scenario);
  if (found.length > 0) return found;
  const names = all.map(({ name }) => name);
  throw new UsageError(
    'MN101',
    `'${file}' exports no scenario '${scenario}'.${suggestion(scenario, names)}`,
  );
}

function variantOf(scenarios: readonly AnyScenario[], variant: string): string {
  const having = scenarios.find((one) => Object.hasOwn(one.variants, variant));
  return findVariant(having ?? (scenarios[0] as AnyScenario), variant);
}

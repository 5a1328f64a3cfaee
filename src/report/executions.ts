/** The executions that a report shows, in the order of the results. */
import type { RecordedFinding } from '../trace/recording.ts';
import { parsePlace, type Place, type ReportInput, type ShownExecution } from './reporter.ts';
import { findingOf, verdictText } from './text.ts';
import { titleOf } from './titles.ts';

/** All executions: of each variant those of its violations, or else its sample. */
export function executionsOf({ variants }: Pick<ReportInput, 'variants'>): ShownExecution[] {
  return variants.flatMap((variant): ShownExecution[] => {
    const name = `${variant.result.scenario} ${variant.result.variant}`;
    const violations = variant.shown.map(({ violation, recording, token }, at) => {
      const title = `${name}: ${titleOf(violation)}`;
      return { variant, violation: at, recording, token, title };
    });
    const { sample } = variant;
    if (violations.length > 0 || sample === undefined) return violations;
    const title = `${name}: ${verdictText(variant.result)}`;
    return [{ variant, violation: null, ...sample, title }];
  });
}

/** The finding that an execution is shown for; null for a sample. */
export function findingShown({
  variant,
  violation,
  recording,
}: ShownExecution): RecordedFinding | null {
  const shown = violation === null ? undefined : variant.shown[violation];
  return shown === undefined ? null : findingOf(recording, shown.violation);
}

/** Our own code: what a driver calls. */
const OWN = /^src\//;

/**
 * The line that a finding is about: the innermost one of the user's own files; where there is none, the
 * innermost known; else the file that defines the scenario.
 */
export function placeOfFinding(finding: RecordedFinding, file: string | null): Place | null {
  const stacks = [finding.stack, finding.memory?.freed?.stack, finding.memory?.allocated?.stack];
  const frames = stacks.flatMap((stack) => stack?.toReversed() ?? []);
  const places = [finding.place, ...frames.map((frame) => frame.place)].filter(
    (place) => place !== null,
  );
  const best = places.find((place) => file !== null && !OWN.test(place)) ?? places[0];
  return parsePlace(best ?? null) ?? (file === null ? null : { file, line: 1 });
}

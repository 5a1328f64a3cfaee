/** What reporters are given in tests: toys of all kinds, and texts that no format likes. */
import { checkVariant } from '../../src/check/check-variant.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { VariantResult } from '../../src/check/result.ts';
import { programOf, type Scenario } from '../../src/check/scenario.ts';
import { identityOf } from '../../src/check/shorten.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import type { ReportedVariant, ReportInput } from '../../src/report/reporter.ts';
import { record } from '../../src/trace/record.ts';
import { encodeToken } from '../../src/trace/token.ts';
import {
  shortPlace,
  toyLocksScenario,
  toyUnregisterScenario,
  type Table,
} from '../trace/sample.ts';

const VERSION = '0.1.0';

type Toy = Scenario<Kernel, Table>;

/** A variant, checked and recorded as the command does it. */
export function report(
  scenario: Toy,
  variant: string,
  file: string | null = null,
): ReportedVariant {
  const result = checkVariant(scenario, variant);
  const program = programOf(scenario, variant);
  const options = { resolvePlace: shortPlace, hasValues: true };
  const tokenOf = (schedule: Parameters<typeof record>[1]): string =>
    encodeToken({ version: VERSION, scenario: scenario.name, variant, schedule });
  const shown = result.violations.map((violation) => ({
    violation,
    recording: record(program, violation.schedule, allDetectors(), {
      ...options,
      isSought: (finding) => identityOf(finding) === identityOf(violation),
    }),
    token: tokenOf(violation.schedule),
  }));
  const about = scenario.about ?? null;
  const variantAbout = scenario.variants[variant]?.about ?? null;
  const reported = { result, shown, about, variantAbout, file };
  if (shown.length > 0) return reported;
  const recording = record(program, { tasks: [], outcomes: [] }, allDetectors(), {
    ...options,
    isSought: () => false,
  });
  const schedule = { tasks: recording.steps.map((step) => step.task), outcomes: [] };
  return { ...reported, sample: { recording, token: tokenOf(schedule) } };
}

/** What HTML, XML, Mermaid, workflow commands and Markdown might take for their own. */
export const NASTY = `</script><b a="1">&amp;'\`]]>;%%#35;|::,%0A\\end --> \u2028 ü 𝔘 end`;

/** Every text that somebody can choose is nasty. */
export function nasty(): ReportedVariant {
  const name = `nasty ${NASTY}`;
  const scenario: Toy = {
    ...toyUnregisterScenario,
    name,
    about: NASTY,
    models: [NASTY],
    variants: { before: { about: NASTY, expect: { verdict: 'clean' } } },
    tasks: Object.fromEntries(
      Object.entries(toyUnregisterScenario.tasks).map(([key, task]) => [`${key} ${NASTY}`, task]),
    ),
  };
  const reported = report(scenario, 'before', `a folder/${NASTY.replaceAll('/', '')}.ts`);
  const [first] = reported.shown;
  if (first === undefined) throw new Error('the toy is broken');
  return reported;
}

/** A search that a limit ended, and of which nothing can be shown. */
export function bounded(): ReportedVariant {
  const { result, ...rest } = report(toyLocksScenario, 'before');
  const bare: VariantResult = {
    ...result,
    asExpected: false,
    verdict: 'bounded',
    complete: false,
    bound: { kind: 'memory', limit: 2048, isRequested: false },
    violations: [],
  };
  return { ...rest, result: bare, shown: [] };
}

const clean: Toy = {
  ...toyLocksScenario,
  name: 'toy-alone',
  variants: { clean: { expect: { verdict: 'clean' } } },
  tasks: { suspend: toyLocksScenario.tasks['suspend'] as Toy['tasks'][string] },
};

/** One of each kind. */
export function sampleInput(): ReportInput {
  return {
    version: VERSION,
    variants: [
      report(toyUnregisterScenario, 'before'),
      report(toyUnregisterScenario, 'race', 'toy.ts'),
      report(toyUnregisterScenario, 'leak', 'toy.ts'),
      report(toyLocksScenario, 'before'),
      report(clean, 'clean'),
      nasty(),
      bounded(),
    ],
    failures: [
      { code: 'MN201', message: `task 'open' threw Error: ${NASTY}`, place: 'driver.ts:12' },
      { code: 'MN103', message: 'the file called process.exit()', place: null },
    ],
  };
}

export const NOTHING: ReportInput = { version: VERSION, variants: [], failures: [] };

/**
 * JUnit XML, as Jenkins, GitLab and others read it: a suite for each scenario, a case for each variant.
 *
 * A case fails if the variant did not do what it is expected to; what was found is in `system-out` either
 * way. Input that could not be checked is a suite of its own, with errors. No times: equal results are
 * equal bytes.
 */
import { isWrong, type ReportedFailure, type ReportedVariant, type Reporter } from './reporter.ts';
import { describeResult, verdictText } from './text.ts';
import { titleOf } from './titles.ts';

/** Letters that XML 1.0 has no way to write. */
// oxlint-disable-next-line no-control-regex
const UNWRITABLE = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]|\p{Surrogate}/gu;

/** Text of an element or of an attribute, in which line breaks must survive. */
export function escapeXml(text: string): string {
  return text
    .replaceAll(UNWRITABLE, '\uFFFD')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\n', '&#10;')
    .replaceAll('\t', '&#9;')
    .replaceAll('\r', '&#13;');
}

/** As {@link escapeXml}, for an element: line breaks may stand as they are. */
function escapeBlock(text: string): string {
  return escapeXml(text).replaceAll('&#10;', '\n');
}

interface Suite {
  readonly name: string;
  readonly file: string | null;
  readonly cases: readonly string[];
  readonly failures: number;
  readonly errors: number;
}

function suiteText({ name, file, cases, failures, errors }: Suite): string {
  const counts = `tests="${cases.length}" failures="${failures}" errors="${errors}"`;
  const where = file === null ? '' : ` file="${escapeXml(file)}"`;
  const head = `  <testsuite name="${escapeXml(name)}" ${counts}${where}>`;
  return [head, ...cases, '  </testsuite>'].join('\n');
}

function suiteOf(variants: readonly ReportedVariant[]): Suite {
  const [first] = variants;
  return {
    name: first?.result.scenario ?? '',
    file: first?.file ?? null,
    cases: variants.map((variant) => caseOf(variant)),
    failures: variants.filter((variant) => isWrong(variant.result)).length,
    errors: 0,
  };
}

function suiteOfFailures(failures: readonly ReportedFailure[]): Suite {
  const cases = failures.map((failure) => caseOfFailure(failure));
  return { name: 'input', file: null, cases, failures: 0, errors: cases.length };
}

function caseOf(variant: ReportedVariant): string {
  const { result, shown, exampleToken } = variant;
  const head = `name="${escapeXml(result.variant)}" classname="${escapeXml(result.scenario)}"`;
  const extra = exampleToken === undefined ? {} : { exampleToken };
  const text = escapeBlock(describeResult(result, shown, extra));
  const lines = [`    <testcase ${head}>`];
  if (isWrong(result)) {
    const [first] = result.violations;
    const type = escapeXml(first === undefined ? result.verdict : titleOf(first));
    const message = escapeXml(verdictText(result));
    lines.push(`      <failure message="${message}" type="${type}">${text}</failure>`);
  } else {
    lines.push(`      <system-out>${text}</system-out>`);
  }
  return [...lines, '    </testcase>'].join('\n');
}

function caseOfFailure({ code, message, place }: ReportedFailure): string {
  const name = escapeXml(place ?? 'mmulab');
  return [
    `    <testcase name="${name}" classname="mmulab">`,
    `      <error message="${escapeXml(message)}" type="${code}"></error>`,
    '    </testcase>',
  ].join('\n');
}

export const junit: Reporter = {
  name: 'junit',
  about: 'JUnit XML: a suite for each scenario, a case for each variant',
  write({ variants, failures }) {
    const names = [...new Set(variants.map(({ result }) => result.scenario))];
    const suites = names.map((name) =>
      suiteOf(variants.filter(({ result }) => result.scenario === name)),
    );
    if (failures.length > 0) suites.push(suiteOfFailures(failures));
    const failed = suites.reduce((sum, suite) => sum + suite.failures, 0);
    const counts = `tests="${variants.length + failures.length}" failures="${failed}"`;
    const lines = [
      '<?xml version="1.0" encoding="UTF-8"?>',
      `<testsuites name="mmulab" ${counts} errors="${failures.length}">`,
      ...suites.map((suite) => suiteText(suite)),
      '</testsuites>',
    ];
    return [`${lines.join('\n')}\n`];
  },
};

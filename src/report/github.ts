/**
 * Annotations of GitHub Actions: workflow commands, one a line, that the runner reads off the output and
 * shows beside the lines of a pull request. Only what is not as expected is annotated.
 */
import { executionsOf, findingShown, placeOfFinding } from './executions.ts';
import {
  isWrong,
  parsePlace,
  type Place,
  type ReportedFailure,
  type ReportedVariant,
  type ReportInput,
  type Reporter,
  type ShownExecution,
} from './reporter.ts';
import { verdictText } from './text.ts';

function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

function command(place: Place | null, title: string, message: string): string {
  const where = place === null ? [] : [`file=${escapeProperty(place.file)}`, `line=${place.line}`];
  const properties = [`title=${escapeProperty(title)}`, ...where].join(',');
  return `::error ${properties}::${escapeData(message)}\n`;
}

function ofExecution(shown: ShownExecution): string[] {
  const finding = findingShown(shown);
  if (finding === null || !isWrong(shown.variant.result)) return [];
  const place = placeOfFinding(finding, shown.variant.file);
  const message = `${finding.message}\nreplay: npx mmulab replay ${shown.token}`;
  return [command(place, shown.title, message)];
}

/** A variant that is wrong without a violation. */
function ofVariant({ result, file }: ReportedVariant): string[] {
  if (!isWrong(result) || result.violations.length > 0) return [];
  const title = `${result.scenario} ${result.variant}`;
  const expected = result.expected?.verdict ?? 'no violation';
  const place = file === null ? null : { file, line: 1 };
  return [command(place, title, `${verdictText(result)}; expected is ${expected}`)];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

/** A table in Markdown of all that was checked, for the summary of the job. */
export function summary({ variants, failures }: ReportInput): string {
  const rows = variants.map(({ result }) => {
    const mark = isWrong(result) ? '❌' : '✅';
    const cells = [mark, `${result.scenario} ${result.variant}`, verdictText(result)];
    return `| ${cells.map((text) => cell(text)).join(' | ')} |`;
  });
  const errors = failures.map(({ code, message }) => `| ❌ | ${code} | ${cell(message)} |`);
  return [
    '### mmulab',
    '',
    '| | checked | verdict |',
    '| --- | --- | --- |',
    ...rows,
    ...errors,
    '',
  ]
    .join('\n')
    .concat('\n');
}

function ofFailure({ code, message, place }: ReportedFailure): string {
  return command(parsePlace(place), code, message);
}

export const github: Reporter = {
  name: 'github',
  about: 'annotations of GitHub Actions; may go to the terminal beside the text',
  write(input) {
    const lines = [
      ...executionsOf(input).flatMap((shown) => ofExecution(shown)),
      ...input.variants.flatMap((variant) => ofVariant(variant)),
      ...input.failures.map((failure) => ofFailure(failure)),
    ];
    return lines.length === 0 ? [] : [lines.join('')];
  },
};

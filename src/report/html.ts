/**
 * The report as one HTML file that needs nothing else: no network, no server, no fonts.
 *
 * For each execution that is shown: a time line, the steps in columns, what memory holds and who holds which
 * locks after each step, buttons and a slider to move back and forth. `#e1.12` at the end of the address leads to
 * step 12 of the first. Headings, tables and live text are such that a screen reader can follow; everything
 * works with the keyboard.
 */
import { executionsOf } from './executions.ts';
import { executionHtml } from './html-execution.ts';
import { SCRIPT } from './html-script.ts';
import { STYLE } from './html-style.ts';
import { escapeHtml } from './html-text.ts';
import { plural, thousands } from './numbers.ts';
import { isWrong, type ReportedVariant, type Reporter, type ReportInput } from './reporter.ts';
import { describeResult, verdictText } from './text.ts';
import { titleOf } from './titles.ts';

/** Nothing is loaded from anywhere, whatever somebody may have got into the page. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

function page(title: string, body: string): string {
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${escapeHtml(title)}</title>`,
    `<style>${STYLE}</style>`,
    '</head>',
    '<body>',
    body,
    `<script>${SCRIPT}</script>`,
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

function nameOf({ result }: ReportedVariant): string {
  return `${result.scenario} ${result.variant}`;
}

function judgement({ result }: ReportedVariant): string {
  if (result.expected === null) return isWrong(result) ? 'found something' : 'found nothing';
  return result.asExpected ? 'as expected' : `not as expected (${result.expected.verdict})`;
}

function summaryHtml(variants: readonly ReportedVariant[]): string {
  const rows = variants.map((variant, at) => {
    const { result } = variant;
    const className = isWrong(result) ? 'wrong' : 'good';
    return (
      `<tr><th scope="row"><a href="#v${at + 1}">${escapeHtml(nameOf(variant))}</a></th>` +
      `<td>${escapeHtml(verdictText(result))}</td>` +
      `<td class="${className}">${judgement(variant)}</td><td>${thousands(result.executions)}</td></tr>`
    );
  });
  return [
    '<table class="summary">',
    '<caption>What was checked</caption>',
    '<thead><tr><th scope="col">Scenario and variant</th><th scope="col">Verdict</th>' +
      '<th scope="col">Judgement</th><th scope="col">Executions</th></tr></thead>',
    '<tbody>',
    ...rows,
    '</tbody></table>',
  ].join('\n');
}

/** The headings of the executions of a variant. */
function headings({ shown }: ReportedVariant): string[] {
  if (shown.length === 0) return ['without violation'];
  return shown.map(({ violation }, at) => {
    const number = shown.length === 1 ? '' : `${at + 1} of ${shown.length}: `;
    const where = violation.places[0] === '' ? '' : ` in ${violation.places[0]}`;
    return `${number}${titleOf(violation)}${where}`;
  });
}

function variantHtml(variant: ReportedVariant, at: number, firstExecution: number): string {
  const { result, about, variantAbout } = variant;
  const facts = describeResult(result, []);
  const models = result.models.length === 0 ? '' : ` (${result.models.join(', ')})`;
  const titles = headings(variant);
  const executions = executionsOf({ variants: [variant] }).map((shown, index) =>
    executionHtml(shown, firstExecution + index, titles[index] ?? shown.title),
  );
  return [
    '<section>',
    `<h2 id="v${at + 1}">${escapeHtml(nameOf(variant) + models)}</h2>`,
    about === null ? '' : `<p>${escapeHtml(about)}</p>`,
    variantAbout === null ? '' : `<p>This variant: ${escapeHtml(variantAbout)}</p>`,
    `<pre>${escapeHtml(facts)}</pre>`,
    ...executions,
    '</section>',
  ].join('\n');
}

function bodyHtml({ variants, failures, version }: ReportInput): string {
  let count = 1;
  const sections = variants.map((variant, at) => {
    const first = count;
    count += executionsOf({ variants: [variant] }).length;
    return variantHtml(variant, at, first);
  });
  const errors = failures.map(
    ({ code, message, place }) =>
      `<li><code>${escapeHtml(place ?? 'mmulab')}</code>: ${escapeHtml(message)} (${code})</li>`,
  );
  return [
    '<header>',
    '<h1>mmulab report</h1>',
    `<p class="quiet">mmulab ${escapeHtml(version)}, ${plural(variants.length, 'variant')}</p>`,
    '</header>',
    '<main>',
    errors.length === 0
      ? ''
      : `<h2>Could not be checked</h2><ul class="wrong">${errors.join('')}</ul>`,
    summaryHtml(variants),
    ...sections,
    '</main>',
  ].join('\n');
}

export const html: Reporter = {
  name: 'html',
  about: 'one self-contained page: time line, columns, values, stepping back and forth',
  write(input) {
    const names = input.variants.map((variant) => nameOf(variant));
    const title = names.length === 1 ? `${names[0]}: mmulab report` : 'mmulab report';
    return [page(title, bodyHtml(input))];
  },
};

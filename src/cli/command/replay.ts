/** `mmulab replay`: repeats the execution that a token stands for. */
import type { Invocation } from '../commands.ts';
import { EXIT_USAGE, worstExitCode } from '../exit-code.ts';
import { columns, hasColor, writeNote, writeResult } from '../output.ts';
import type { ReportTarget } from '../report-target.ts';
import { Reports } from '../reporters.ts';
import { runInWorker } from '../supervise.ts';
import { isOfFile } from '../token-name.ts';

export async function replay({ args, options }: Invocation): Promise<number> {
  const [token = '', file = null] = args;
  if (options['inspect'] === true) {
    const { inspectReplay } = await import('../inspect-replay.ts');
    return inspectReplay(token, file);
  }
  const isJson = options['json'] === true;
  const targets = (options['reporter'] ?? []) as readonly ReportTarget[];
  // The JSON of a replay is a document of its own kind.
  const reports = new Reports(targets, false);
  const problem =
    isJson && targets.some((target) => target.file === null)
      ? 'a report and --json would both go to standard output: give the report a file'
      : reports.problem();
  if (problem !== null) {
    writeNote(`mmulab: ${problem}`);
    return EXIT_USAGE;
  }
  const hasText = !isJson && reports.hasText;
  const outcome = await runInWorker(
    {
      kind: 'replay',
      token,
      file,
      view: {
        isJson: !hasText,
        ...reports.wish,
        hasColor: hasText && hasColor(process.stdout),
        columns: columns(file !== null || isOfFile(token)),
        isBrief: false,
      },
    },
    writeResult,
  );
  if (isJson) {
    const [document = { schemaVersion: 1, errors: outcome.failures }] = outcome.documents;
    writeResult(JSON.stringify(document, null, 2));
  }
  const written = reports.write({ variants: outcome.reports, failures: outcome.failures });
  return worstExitCode([outcome.exitCode, written]);
}

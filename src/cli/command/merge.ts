/** `mmulab merge`: puts the parts of a search together that `check --shard` has explored. */
import type { Invocation } from '../commands.ts';
import { worstExitCode } from '../exit-code.ts';
import { columns, hasColor, writeResult } from '../output.ts';
import { Reports } from '../reporters.ts';
import { runInWorker } from '../supervise.ts';

export async function merge({ args, options }: Invocation): Promise<number> {
  const reports = new Reports([], options['json'] === true);
  const { hasText } = reports;
  const outcome = await runInWorker(
    {
      kind: 'merge',
      files: args,
      view: {
        isJson: !hasText,
        ...reports.wish,
        hasColor: hasText && hasColor(process.stdout),
        columns: columns(),
        isBrief: false,
      },
    },
    writeResult,
  );
  const written = reports.write({ variants: outcome.reports, failures: outcome.failures });
  return worstExitCode([outcome.exitCode, written]);
}

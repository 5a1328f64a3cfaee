/** `mmulab replay`: repeats the execution that a token stands for. */
import type { Invocation } from '../commands.ts';
import { columns, hasColor, writeResult } from '../output.ts';
import { runInWorker } from '../supervise.ts';
import { isOfFile } from '../token-name.ts';

export async function replay({ args, options }: Invocation): Promise<number> {
  const [token = '', file = null] = args;
  if (options['inspect'] === true) {
    const { inspectReplay } = await import('../inspect-replay.ts');
    return inspectReplay(token, file);
  }
  const isJson = options['json'] === true;
  const outcome = await runInWorker(
    {
      kind: 'replay',
      token,
      file,
      view: {
        isJson,
        hasColor: !isJson && hasColor(process.stdout),
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
  return outcome.exitCode;
}

/** `mmulab demo`: a bug of the catalogue, drawn, and the code after its fix. */
import type { Invocation } from '../commands.ts';
import { columns, hasColor, writeResult } from '../output.ts';
import { runInWorker } from '../supervise.ts';

const SCENARIO_DEFAULT = 'kfd-unregister';

export async function demo({ args }: Invocation): Promise<number> {
  const outcome = await runInWorker(
    {
      kind: 'check',
      target: { kind: 'scenario', name: args[0] ?? SCENARIO_DEFAULT },
      variants: { kind: 'demo' },
      doesBail: false,
      stepCountMax: null,
      executionCountMax: null,
      secondsMax: null,
      sampling: null,
      bounds: {},
      coverage: false,
      view: {
        isJson: false,
        hasColor: hasColor(process.stdout),
        columns: columns(),
        isBrief: true,
      },
    },
    writeResult,
  );
  return outcome.exitCode;
}

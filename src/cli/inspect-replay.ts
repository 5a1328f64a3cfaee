/**
 * `replay --inspect`: repeats an execution under the Node debugger, in this thread, so that
 * breakpoints in the driver file work. It waits for a debugger, loads the file, and stops before the
 * first step; from there every step is ordinary code that runs in the order of the schedule.
 */
import * as inspector from 'node:inspector';
import { adaptSchedule } from '../check/adapt.ts';
import { replay } from '../check/replay.ts';
import { allDetectors } from '../check/detector/index.ts';
import { programOf } from '../check/scenario.ts';
import { EXIT_FINDING, EXIT_OK } from './exit-code.ts';
import { openToken } from './open-token.ts';
import { writeNote, writeResult } from './output.ts';

/** Where debuggers look first. */
const PORT = 9229;

export async function inspectReplay(token: string, file: string | null): Promise<number> {
  const opened = await openToken(token, file);
  openInspector();
  writeNote(
    [
      `mmulab: waiting for a debugger at ${inspector.url() ?? ''}`,
      '  Chrome: chrome://inspect. VS Code: "Attach to Node Process". Terminal: node inspect ' +
        new URL(inspector.url() ?? '').host,
      '  It stops before the first step; set breakpoints in the driver file, then continue.',
    ].join('\n'),
  );
  inspector.waitForDebugger();
  const program = programOf(opened.scenario, opened.variant);
  const { schedule, edits, stopped } = adaptSchedule(program, opened.schedule);
  for (const { step, reason } of stopped === null ? edits : [...edits, stopped]) {
    writeNote(`mmulab: at step ${step + 1} of the token: ${reason}`);
  }
  // eslint-disable-next-line no-debugger -- This is what the user asked for.
  debugger;
  const { kernel } = replay(program, schedule, {
    watches: allDetectors(),
    toEnd: true,
  });
  for (const { message } of kernel.findings) writeResult(message);
  if (kernel.findings.length === 0) writeResult('no violation');
  return kernel.findings.length === 0 ? EXIT_OK : EXIT_FINDING;
}

/** At the usual port, or at any if that is taken. */
function openInspector(): void {
  if (inspector.url() !== undefined) return;
  try {
    inspector.open(PORT, '127.0.0.1');
  } catch {
    // Taken, on a Node that says so.
  }
  if (inspector.url() === undefined) inspector.open(0, '127.0.0.1');
}

/**
 * Tokens: an execution as one word that survives mail, shells and address lines.
 *
 *     mn2_ base64url( version, scenario, variant, runs, marks, outcomes, checksum )
 *
 * A schedule is stored as runs of steps of the same task, and of the outcomes only those that are not
 * 0. Marks (check/step-marks.ts) take two bytes for each task and half a byte for each step. Schedules that
 * have to be run before follow, each after a distance and an outcome of 0. Format 1 is the same without
 * marks; it is read, and written for schedules that have none.
 *
 * The word begins with a letter, so that no command line takes it for an option. Its checksum finds any
 * single wrong letter, and a missing end with a probability of 2^-32 of failing.
 */
import { decodeBase64url, encodeBase64url } from '../base/base64url.ts';
import { ByteReader, ByteWriter, MalformedBytes } from '../base/bytes.ts';
import { assert } from '../base/assert.ts';
import { TOKEN_BYTES_MAX, TOKEN_STEPS_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Schedule } from '../check/program.ts';
import { STEP_MARK_RADIX, type StepMarks } from '../check/step-marks.ts';

export interface TokenContent {
  /** The version of mmulab that wrote it. */
  readonly version: string;
  /** A scenario of the catalogue, or `file:<relative path>#<scenario>`. */
  readonly scenario: string;
  readonly variant: string;
  readonly schedule: Schedule;
}

/** Of the format, by whether there are marks. */
const PREFIX = 'mn2_';
const PREFIX_UNMARKED = 'mn1_';
const ANY_FORMAT = /^mn(\d+)_/;
/** A run is its length - 1 times this, plus its task. At least TASK_COUNT_MAX; part of the format. */
const RUN_RADIX = 32;

/** Writes a token. Only with `marks` can its schedule be followed in code that was edited. */
export function encodeToken(content: TokenContent): string {
  const { earlier = [], marks } = content.schedule;
  const isMarked = marks !== undefined && earlier.every((one) => one.marks !== undefined);
  const writer = new ByteWriter();
  writer.text(content.version);
  writer.text(content.scenario);
  writer.text(content.variant);
  writeSchedule(writer, content.schedule, isMarked);
  for (const before of earlier) {
    // No outcome of 0 is ever written otherwise.
    writer.integer(0);
    writer.integer(0);
    writeSchedule(writer, before, isMarked);
  }
  writer.checksum();
  return (isMarked ? PREFIX : PREFIX_UNMARKED) + encodeBase64url(writer.finish());
}

function writeSchedule(writer: ByteWriter, schedule: Schedule, isMarked: boolean): void {
  const { tasks, outcomes, marks } = schedule;
  const runs = runsOf(tasks);
  writer.integer(runs.length);
  for (const run of runs) {
    assert(run.task < RUN_RADIX, `task ${run.task} fits into a token`);
    writer.integer((run.length - 1) * RUN_RADIX + run.task);
  }
  if (isMarked && marks !== undefined) writeMarks(writer, marks);
  let before = 0;
  for (const [at, outcome] of outcomes.entries()) {
    if (outcome === 0) continue;
    writer.integer(at - before);
    writer.integer(outcome);
    before = at;
  }
}

function writeMarks(writer: ByteWriter, { tasks, steps }: StepMarks): void {
  writer.integer(tasks.length);
  for (const mark of tasks) {
    writer.byte(mark >>> 8);
    writer.byte(mark & 0xff);
  }
  for (let at = 0; at < steps.length; at += 2) {
    writer.byte((steps[at] as number) * STEP_MARK_RADIX + (steps[at + 1] ?? 0));
  }
}

function readMarks(reader: ByteReader, stepCount: number): StepMarks {
  const tasks: number[] = [];
  for (let left = reader.integer(); left > 0; left -= 1) {
    if (tasks.length >= RUN_RADIX) throw new MalformedBytes('too many tasks');
    tasks.push(reader.byte() * 256 + reader.byte());
  }
  const steps: number[] = [];
  while (steps.length < stepCount) {
    const two = reader.byte();
    steps.push(Math.floor(two / STEP_MARK_RADIX), two % STEP_MARK_RADIX);
  }
  if (steps.length > stepCount && steps.pop() !== 0) throw new MalformedBytes('mark of no step');
  return { tasks, steps };
}

/**
 * Reads a token, of any version that writes a format which this one knows.
 *
 * @throws UsageError MN301 if it is damaged or no token; MN302 if its format is of another version.
 */
export function decodeToken(token: string): TokenContent {
  const text = token.trim();
  if (text.length > TOKEN_BYTES_MAX) {
    throw damaged(text, `it is ${text.length} letters long, the limit is ${TOKEN_BYTES_MAX}`);
  }
  checkFormat(text);
  const reader = new ByteReader(bytesOf(text));
  try {
    reader.checksum();
    return {
      version: printable(reader.text()),
      scenario: printable(reader.text()),
      variant: printable(reader.text()),
      schedule: readSchedules(reader, text.startsWith(PREFIX)),
    };
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw damaged(text, 'its checksum is wrong: letters are missing, added or changed');
  }
}

/** Names from a token are printed in messages: one that could steer a terminal is refused. */
function printable(text: string): string {
  if (/\p{Cc}/u.test(text)) throw new MalformedBytes('control characters');
  return text;
}

function runsOf(tasks: readonly number[]): { readonly task: number; length: number }[] {
  const runs: { readonly task: number; length: number }[] = [];
  for (const task of tasks) {
    const last = runs.at(-1);
    if (last !== undefined && last.task === task) last.length += 1;
    else runs.push({ task, length: 1 });
  }
  return runs;
}

function readSchedules(reader: ByteReader, isMarked: boolean): Schedule {
  const schedule = readSchedule(reader, isMarked);
  const earlier: Schedule[] = [];
  while (!reader.isAtEnd) earlier.push(readSchedule(reader, isMarked));
  return earlier.length === 0 ? schedule : { ...schedule, earlier };
}

function readSchedule(reader: ByteReader, isMarked: boolean): Schedule {
  const tasks: number[] = [];
  for (let left = reader.integer(); left > 0; left -= 1) {
    const run = reader.integer();
    const length = Math.floor(run / RUN_RADIX) + 1;
    if (tasks.length + length > TOKEN_STEPS_MAX) throw new MalformedBytes('too many steps');
    for (let step = 0; step < length; step += 1) tasks.push(run % RUN_RADIX);
  }
  const marks = isMarked ? readMarks(reader, tasks.length) : null;
  const outcomes = tasks.map(() => 0);
  for (let at = 0; !reader.isAtEnd;) {
    const distance = reader.integer();
    const outcome = reader.integer();
    if (outcome === 0 && distance === 0) break;
    at += distance;
    if (at >= tasks.length) throw new MalformedBytes('outcome of no step');
    outcomes[at] = outcome;
  }
  return marks === null ? { tasks, outcomes } : { tasks, outcomes, marks };
}

function checkFormat(text: string): void {
  if (text.startsWith(PREFIX) || text.startsWith(PREFIX_UNMARKED)) return;
  const format = ANY_FORMAT.exec(text);
  if (format === null) throw damaged(text, `a token begins with '${PREFIX}'`);
  throw new UsageError(
    'MN302',
    `the token has format ${format[1] as string}, this mmulab reads formats 1 and 2. Replay it with the ` +
      `version that printed it, or check the scenario again to get a new one.`,
  );
}

function bytesOf(text: string): Uint8Array {
  const bytes = decodeBase64url(text.slice(PREFIX.length));
  if (bytes instanceof Uint8Array) return bytes;
  if (bytes.problem !== 'letter') throw damaged(text, 'its end is missing or was changed');
  const at = PREFIX.length + bytes.position;
  const letter = JSON.stringify(String.fromCodePoint(text.codePointAt(at) as number));
  throw damaged(text, `letter ${at + 1} is ${letter}; only A-Z a-z 0-9 - _ occur in tokens`);
}

function damaged(text: string, problem: string): UsageError {
  const shown = text.length <= 24 ? text : `${text.slice(0, 21)}…`;
  return new UsageError(
    'MN301',
    `'${shown}' is no token that can be replayed: ${problem}. Copy the whole word that 'check' ` +
      `printed after 'replay'.`,
  );
}

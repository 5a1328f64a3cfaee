/**
 * Reading a recording, and refusing what is none.
 *
 * A recording is data from elsewhere: it may be cut off, of another kernel, of another recorder, or no
 * recording at all. Everything that the simulation is compared with is checked here, so that a difference
 * is the simulation's and never that of a damaged file.
 */
import { UsageError } from '../base/usage-error.ts';
import { OpError, parseOp } from './parse-op.ts';
import {
  PAGE_BYTES,
  UNIT_PAGES_MAX,
  UNITS_MAX,
  WINDOW_UNITS,
  type RecordedCall,
  type RecordedFile,
  type RecordedVma,
  type Recording,
  type RecordingHeader,
  type UnitRange,
} from './recording.ts';

/** The kernels whose mm this is. */
const KERNEL = /^Linux 6\.18(?:[.-]\S*)? x86_64$/;
const HEADER_KEYS = ['files', 'group', 'kernel', 'pageSize', 'unitPages', 'units'];
const CALL_KEYS = ['err', 'inv', 'op', 'present', 'ret', 'vmas'];
const ERROR_NAMES =
  /^(?:EPERM|ENOENT|EINTR|EAGAIN|ENOMEM|EACCES|EFAULT|EBUSY|EEXIST|EINVAL|EBADF|ENODEV|EOVERFLOW|EOPNOTSUPP|SIGSEGV|SIGBUS|SIGNAL)$/;

/**
 * Parses the text of a recording.
 *
 * @param path what messages call it.
 * @throws UsageError MN501 with the line if it is cut off or no recording of this kernel.
 */
export function parseRecording(path: string, text: string): Recording {
  const refuse = (line: number, reason: string): never => {
    throw new UsageError('MN501', reason, `${path}:${line}`);
  };
  if (text.trim() === '') refuse(1, 'an empty file is no recording');
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  const rows = lines.map((line, at) => {
    try {
      return json(line);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const isCut = at === lines.length - 1 && at > 0 && line.startsWith('{');
      return refuse(at + 1, isCut ? 'the recording is cut off within this line' : error.message);
    }
  });
  let header: RecordingHeader | null = null;
  const calls: RecordedCall[] = [];
  for (const [at, row] of rows.entries()) {
    try {
      if (header === null) header = headerOf(row);
      else calls.push(callOf(row, at + 1, header));
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof OpError)) throw error;
      refuse(at + 1, error.message);
    }
  }
  if (header === null || calls.length === 0) {
    return refuse(1, 'the recording is cut off after its header: there is no call');
  }
  return { path, header, calls };
}

/** What is wrong with a line. */
class Refusal extends Error {}

type Row = Readonly<Record<string, unknown>>;

function json(line: string): Row {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Refusal(line === '' ? 'an empty line' : `no JSON: ${excerpt(line)}`);
  }
  if (!isRow(value)) throw new Refusal(`expected a JSON object, found ${excerpt(line)}`);
  return value;
}

function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function excerpt(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function requireKeys(row: Row, keys: readonly string[], what: string): void {
  for (const key of keys) {
    if (!Object.hasOwn(row, key)) throw new Refusal(`${what} has no '${key}'`);
  }
  const extra = Object.keys(row).find((key) => !keys.includes(key));
  if (extra !== undefined) throw new Refusal(`${what} has an unknown field '${excerpt(extra)}'`);
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
}

// ---- the header -----------------------------------------------------------------------------

function headerOf(row: Row): RecordingHeader {
  requireKeys(row, HEADER_KEYS, 'the header of a recording');
  const { kernel, pageSize, unitPages, units, group } = row;
  if (typeof kernel !== 'string' || !KERNEL.test(kernel)) {
    throw new Refusal(`a recording of ${excerpt(kernel)}; the mm is that of Linux 6.18 x86_64`);
  }
  if (pageSize !== PAGE_BYTES) {
    throw new Refusal(`pages of ${excerpt(pageSize)} bytes, expected ${PAGE_BYTES}`);
  }
  if (units !== WINDOW_UNITS) {
    throw new Refusal(`a window of ${excerpt(units)} units, expected ${WINDOW_UNITS}`);
  }
  if (!isWhole(unitPages, 1, UNIT_PAGES_MAX)) {
    throw new Refusal(`units of ${excerpt(unitPages)} pages, expected 1 to ${UNIT_PAGES_MAX}`);
  }
  if (typeof group !== 'string' || !/^[\w-]{1,40}$/.test(group)) {
    throw new Refusal(`the group is ${excerpt(group)}, expected a word`);
  }
  return { kernel, group, unitPages, files: filesOf(row['files']) };
}

function filesOf(value: unknown): readonly RecordedFile[] {
  if (!isRow(value)) throw new Refusal(`the files are ${excerpt(value)}, expected an object`);
  const entries = Object.entries(value);
  return entries.map(([name, file], at) => {
    // Calls speak of them by number.
    if (name !== `f${at}` || at > 9)
      throw new Refusal(`a file '${excerpt(name)}', expected f${at}`);
    if (!isRow(file)) throw new Refusal(`${name} is ${excerpt(file)}, expected an object`);
    requireKeys(file, ['units', 'firstByteOfUnit'], name);
    const { units, firstByteOfUnit } = file;
    const match = /^(\d{1,3})\+i$/.exec(String(firstByteOfUnit));
    if (!isWhole(units, 0, UNITS_MAX) || match === null) {
      throw new Refusal(`${name} is ${excerpt(file)}, expected units and firstByteOfUnit 'N+i'`);
    }
    const firstByte = Number(match[1]);
    if (firstByte + units > 256) throw new Refusal(`${name}: its bytes go beyond 255`);
    return { name, units, firstByte };
  });
}

// ---- calls ----------------------------------------------------------------------------------

function callOf(row: Row, line: number, header: RecordingHeader): RecordedCall {
  requireKeys(row, CALL_KEYS, 'the call');
  const { op: text, ret, err, present } = row;
  if (typeof text !== 'string') throw new Refusal(`'op' is ${excerpt(text)}, expected text`);
  const names = header.files.map((file) => file.name);
  const op = parseOp(text, names);
  if (!isWhole(ret, -1, UNITS_MAX)) throw new Refusal(`'ret' is ${excerpt(ret)}`);
  if (err !== null && !(typeof err === 'string' && ERROR_NAMES.test(err))) {
    throw new Refusal(`'err' is ${excerpt(err)}, expected null or the name of an error`);
  }
  if (typeof present !== 'string' || !/^[1.s]*$/.test(present)) {
    throw new Refusal(`'present' is ${excerpt(present)}, expected letters of 1 . s`);
  }
  if (present.length !== WINDOW_UNITS) {
    throw new Refusal(`'present' has ${present.length} letters, expected ${WINDOW_UNITS}`);
  }
  const inv = arrayOf(row['inv'], 'inv').map((item) => rangeOf(item));
  const backings = ['anon', 'shm', ...names];
  const vmas = arrayOf(row['vmas'], 'vmas').map((item) => vmaOf(item, backings));
  for (const [at, vma] of vmas.entries()) {
    const before = vmas[at - 1];
    if (before !== undefined && vma[0] < before[1]) {
      throw new Refusal(`'vmas': ${excerpt(vma)} does not come after ${excerpt(before)}`);
    }
  }
  return { text, line, op, ret, err: err as string | null, inv, vmas, present };
}

function arrayOf(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Refusal(`'${name}' is ${excerpt(value)}, expected a list`);
  return value;
}

function rangeOf(value: unknown): UnitRange {
  const [start, end] = Array.isArray(value) && value.length === 2 ? (value as unknown[]) : [];
  // Both ends are rounded down, so they may be equal; a range need not begin in the window.
  if (!isWhole(end, 0, Number.MAX_SAFE_INTEGER) || !isWhole(start, -UNITS_MAX, end)) {
    throw new Refusal(`'inv' has ${excerpt(value)}, expected [start, end]`);
  }
  return [start, end];
}

function vmaOf(value: unknown, backings: readonly string[]): RecordedVma {
  const [start, end, permissions, backing, offset] =
    Array.isArray(value) && value.length === 5 ? (value as unknown[]) : [];
  if (
    !isWhole(start, 0, WINDOW_UNITS - 1) ||
    !isWhole(end, start + 1, 2 * UNITS_MAX) ||
    !(typeof permissions === 'string' && /^[r-][w-][x-][ps]$/.test(permissions)) ||
    !(typeof backing === 'string' && backings.includes(backing)) ||
    !isWhole(offset, 0, 2 * UNITS_MAX)
  ) {
    throw new Refusal(
      `'vmas' has ${excerpt(value)}, expected [start, end, permissions, backing, offset]`,
    );
  }
  return [start, end, permissions, backing, offset];
}

/**
 * Files of saved searches: checkpoints, and shards to be merged.
 *
 * Two lines: what it is, with the length and the hash of what follows, and the search as JSON. So a file
 * that is damaged, cut off or from elsewhere is noticed before anybody believes it. It is written beside
 * and moved into its place, so that whoever ends the process at whatever moment leaves the one before.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { SEARCH_FILE_BYTES_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import type { SavedVariant } from '../check/search-parts.ts';
import type { Shard } from '../check/shared-tree.ts';
import type { Target } from './protocol.ts';
import { searchFile } from './search-shape.ts';
import { VERSION } from './version.ts';

/** What is known of one variant. */
export interface SearchEntry {
  readonly scenario: string;
  readonly variant: string;
  /** What its first execution does, as a hash: tells whether the scenario is the same. */
  readonly fingerprint: string;
  readonly isOver: boolean;
  readonly saved: SavedVariant;
}

export interface SearchFile {
  readonly target: Target;
  /** The one that was asked for; null for all. */
  readonly variant: string | null;
  readonly stepCountMax: number | null;
  /** The bound on preemptions that was asked for, and whether the shortest violation was. */
  readonly preemptions: number | null;
  readonly shortest: boolean;
  readonly shard: Shard | null;
  readonly entries: readonly SearchEntry[];
}

const FORMAT = 'mmulab-search';
const FORMAT_VERSION = 2;
const HEADER_BYTES_MAX = 1000;

export function encodeSearchFile(content: SearchFile): string {
  const body = JSON.stringify(content);
  const header = {
    format: FORMAT,
    formatVersion: FORMAT_VERSION,
    mmulab: VERSION,
    bytes: Buffer.byteLength(body),
    sha256: hashOf(body),
  };
  return `${JSON.stringify(header)}\n${body}\n`;
}

/**
 * Reads what a file holds.
 *
 * @param name of the file, for messages.
 * @throws UsageError MN304
 */
export function decodeSearchFile(bytes: string, name: string): SearchFile {
  const refuse = (reason: string): UsageError =>
    new UsageError('MN304', `'${name}' cannot be used as a saved search: ${reason}`);
  const end = bytes.indexOf('\n');
  if (end < 0 || end > HEADER_BYTES_MAX) throw refuse('its first line does not say what it is');
  const header = parsed(bytes.slice(0, end)) as
    | Readonly<Record<string, unknown>>
    | null
    | undefined;
  if (header?.['format'] !== FORMAT) throw refuse('its first line does not say what it is');
  if (header['formatVersion'] !== FORMAT_VERSION) {
    throw refuse(
      `it has format ${JSON.stringify(header['formatVersion'])}, this mmulab reads format ${FORMAT_VERSION}`,
    );
  }
  if (header['mmulab'] !== VERSION) {
    throw refuse(
      `it was written by mmulab ${JSON.stringify(header['mmulab'])}, this is ${VERSION}: the same ` +
        'steps may be others. Go on with that version, or begin anew',
    );
  }
  const body = bytes.slice(end + 1).replace(/\n$/, '');
  const length = Buffer.byteLength(body);
  if (header['bytes'] !== length) {
    throw refuse(
      `it should have ${JSON.stringify(header['bytes'])} bytes after its first line and has ${length}`,
    );
  }
  if (header['sha256'] !== hashOf(body)) throw refuse('it was damaged: its hash is another');
  const content = parsed(body);
  const problem = searchFile(content, 'it');
  if (problem !== null) throw refuse(problem);
  return content as SearchFile;
}

/** @throws UsageError MN304 */
export function readSearchFile(path: string): SearchFile {
  let bytes: string;
  try {
    const { size } = statSync(path);
    if (size > SEARCH_FILE_BYTES_MAX) {
      throw new UsageError(
        'MN304',
        `'${path}' cannot be used as a saved search: it has ${size} bytes, the limit is ${SEARCH_FILE_BYTES_MAX}`,
      );
    }
    bytes = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError('MN304', `'${path}' cannot be read: ${(error as Error).message}`);
  }
  return decodeSearchFile(bytes, path);
}

/** Replaces the file, as a whole or not at all. @throws UsageError MN304 */
export function writeSearchFile(path: string, content: SearchFile): void {
  const beside = `${path}.${process.pid}.new`;
  try {
    const file = openSync(beside, 'w');
    try {
      writeSync(file, encodeSearchFile(content));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(beside, path);
    const folder = openSync(dirname(path), 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (error) {
    throw new UsageError('MN304', `'${path}' cannot be written: ${(error as Error).message}`);
  }
}

function hashOf(body: string): string {
  return createHash('sha256').update(body).digest('hex');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Recordings of a real kernel: a random program of memory system calls, and what was seen after each.
 *
 * All positions and lengths are in units of `unitPages` pages, relative to a window of
 * {@link WINDOW_UNITS} units at {@link WINDOW_START}. The format is described beside the recordings.
 */

/** Bytes. */
export const PAGE_BYTES = 4096;
/** Where the window begins: a byte address. */
export const WINDOW_START = 0x1_0000_0000;
/** Units of the window. */
export const WINDOW_UNITS = 64;
/** A unit has at most so many pages: then the window fills one GiB. */
export const UNIT_PAGES_MAX = 4096;
/** No length or position of a call is greater, in units. */
export const UNITS_MAX = 1024;

/** A file that exists before the first call. */
export interface RecordedFile {
  readonly name: string;
  readonly units: number;
  /** The first byte of unit i is this plus i; every other byte is 0. */
  readonly firstByte: number;
}

/** The first line of a recording. */
export interface RecordingHeader {
  readonly kernel: string;
  readonly group: string;
  readonly unitPages: number;
  readonly files: readonly RecordedFile[];
}

/** What a mapping shows: anonymous memory, or a file from a unit on. */
export type Backing =
  | { readonly kind: 'anon'; readonly isShared: boolean }
  | {
      readonly kind: 'file';
      readonly isShared: boolean;
      /** An index into the header's files. */
      readonly file: number;
      readonly unit: number;
    };

/** A call; `at` and `units` say what it is applied to. */
export type RecordedOp =
  | {
      readonly name: 'mmap';
      readonly at: number;
      readonly units: number;
      readonly prot: number;
      readonly backing: Backing;
    }
  | {
      readonly name: 'mmapnr' | 'mprotect';
      readonly at: number;
      readonly units: number;
      readonly prot: number;
    }
  | {
      readonly name: 'munmap' | 'mlock' | 'munlock' | 'msync';
      readonly at: number;
      readonly units: number;
    }
  | {
      readonly name: 'madvise';
      readonly at: number;
      readonly units: number;
      readonly advice: number;
    }
  | {
      readonly name: 'mremap';
      readonly at: number;
      readonly units: number;
      readonly newUnits: number;
      readonly flags: number;
      /** Where it is to be moved to; 0 if that is not asked for. */
      readonly to: number;
    }
  | { readonly name: 'read' | 'write'; readonly at: number; readonly offset: number }
  | {
      readonly name: 'fork';
      /** The unit that the child reads, or -1. */
      readonly at: number;
      readonly doesWrite: boolean;
    }
  | { readonly name: 'truncate'; readonly file: number; readonly units: number }
  | { readonly name: 'punch'; readonly file: number; readonly at: number; readonly units: number };

/** `[start, end)` in units, both rounded down. */
export type UnitRange = readonly [start: number, end: number];
/** Start, end, permissions, backing, offset. */
export type RecordedVma = readonly [
  start: number,
  end: number,
  permissions: string,
  backing: string,
  offset: number,
];

/** What was seen of a call and after it. */
export interface Observation {
  readonly ret: number;
  /** A name of errno, `SIGSEGV`, `SIGBUS`, or `SIGNAL` for a child that was killed. */
  readonly err: string | null;
  /** The ranges that a notifier was told, in order, as far as they touch the window. */
  readonly inv: readonly UnitRange[];
  /** The mappings that begin in the window. */
  readonly vmas: readonly RecordedVma[];
  /** A letter for each unit's first page: `1` present, `.` not, `s` swapped out. */
  readonly present: string;
}

export interface RecordedCall extends Observation {
  /** As it stands in the recording. */
  readonly text: string;
  /** The line of the file, from 1. */
  readonly line: number;
  readonly op: RecordedOp;
}

export interface Recording {
  /** Where it was read from, for messages. */
  readonly path: string;
  readonly header: RecordingHeader;
  readonly calls: readonly RecordedCall[];
}

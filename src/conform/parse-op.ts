/** The text of one recorded call, `mremap 3 2 4 fixed:9`, as data. */
import {
  MADV_DODUMP,
  MADV_DOFORK,
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HUGEPAGE,
  MADV_KEEPONFORK,
  MADV_MERGEABLE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_REMOVE,
  MADV_SEQUENTIAL,
  MADV_UNMERGEABLE,
  MADV_WILLNEED,
  MADV_WIPEONFORK,
  MREMAP_DONTUNMAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_EXEC,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../base/mman.ts';
import { UNITS_MAX, type Backing, type RecordedOp } from './recording.ts';

const ADVICE: Readonly<Record<string, number>> = {
  NORMAL: MADV_NORMAL,
  RANDOM: MADV_RANDOM,
  SEQUENTIAL: MADV_SEQUENTIAL,
  WILLNEED: MADV_WILLNEED,
  DONTNEED: MADV_DONTNEED,
  FREE: MADV_FREE,
  REMOVE: MADV_REMOVE,
  DONTFORK: MADV_DONTFORK,
  DOFORK: MADV_DOFORK,
  MERGEABLE: MADV_MERGEABLE,
  UNMERGEABLE: MADV_UNMERGEABLE,
  HUGEPAGE: MADV_HUGEPAGE,
  NOHUGEPAGE: MADV_NOHUGEPAGE,
  DONTDUMP: MADV_DONTDUMP,
  DODUMP: MADV_DODUMP,
  WIPEONFORK: MADV_WIPEONFORK,
  KEEPONFORK: MADV_KEEPONFORK,
  POPULATE_READ: MADV_POPULATE_READ,
  POPULATE_WRITE: MADV_POPULATE_WRITE,
};

/** What is wrong with a call; the caller knows the line. */
export class OpError extends Error {}

/** Takes the words of a call one by one. */
class Words {
  private readonly words: readonly string[];
  private readonly fileNames: readonly string[];
  private at = 0;

  constructor(text: string, fileNames: readonly string[]) {
    this.words = text.split(' ');
    this.fileNames = fileNames;
  }

  next(what: string): string {
    const word = this.words[this.at];
    if (word === undefined || word === '') throw new OpError(`${what} is missing`);
    this.at += 1;
    return word;
  }

  /** A count or position in units. */
  units(what: string): number {
    return unitsOf(this.next(what), what);
  }

  /** A byte of a unit's first page. */
  offset(): number {
    const offset = wholeNumber(this.next('the offset'), 'the offset');
    if (offset >= 4096) throw new OpError(`the offset ${offset} is not in the unit's first page`);
    return offset;
  }

  /** `0` is the first file. */
  file(): number {
    const word = this.next('the file');
    const file = wholeNumber(word, 'the file');
    if (file >= this.fileNames.length) throw new OpError(`the header knows no file ${word}`);
    return file;
  }

  prot(): number {
    const word = this.next('the protection');
    if (word === 'n') return PROT_NONE;
    if (!/^(?=.)r?w?x?$/.test(word)) throw new OpError(`'${word}' is no protection`);
    return (
      (word.includes('r') ? PROT_READ : 0) |
      (word.includes('w') ? PROT_WRITE : 0) |
      (word.includes('x') ? PROT_EXEC : 0)
    );
  }

  advice(): number {
    const word = this.next('the advice');
    const advice = Object.hasOwn(ADVICE, word) ? ADVICE[word] : undefined;
    if (advice === undefined) throw new OpError(`'${word}' is no advice`);
    return advice;
  }

  backing(): Backing {
    const word = this.next('the backing');
    if (word === 'anonp') return { kind: 'anon', isShared: false };
    if (word === 'anons') return { kind: 'anon', isShared: true };
    const match = /^(f\d)([ps]):(\d+)$/.exec(word);
    const file = match === null ? -1 : this.fileNames.indexOf(match[1] as string);
    if (match === null || file < 0) {
      throw new OpError(`'${word}' is no backing: expected anonp, anons, or like f0p:3`);
    }
    const unit = unitsOf(match[3] as string, 'the unit of the file');
    return { kind: 'file', isShared: match[2] === 's', file, unit };
  }

  literal(word: string): void {
    const found = this.next(`'${word}'`);
    if (found !== word) throw new OpError(`expected '${word}', found '${found}'`);
  }

  end(): void {
    const word = this.words[this.at];
    if (word !== undefined) throw new OpError(`'${word}' is one word too many`);
  }
}

function wholeNumber(word: string, what: string): number {
  if (!/^\d{1,9}$/.test(word)) throw new OpError(`${what} is '${word}', expected a whole number`);
  return Number(word);
}

function unitsOf(word: string, what: string): number {
  const units = wholeNumber(word, what);
  if (units > UNITS_MAX) throw new OpError(`${what} is ${units}, more than ${UNITS_MAX} units`);
  return units;
}

function mremap(words: Words): RecordedOp {
  const at = words.units('the position');
  const units = words.units('the old length');
  const newUnits = words.units('the new length');
  const how = words.next('how to move');
  const name = 'mremap';
  if (how === 'none') return { name, at, units, newUnits, flags: 0, to: 0 };
  const match = /^(fixed|dontunmap):(\d+)$/.exec(how);
  if (match === null) {
    throw new OpError(`'${how}' is no way to move: expected none, or like fixed:3, dontunmap:3`);
  }
  const isFixed = match[1] === 'fixed';
  const flags = MREMAP_MAYMOVE | MREMAP_FIXED | (isFixed ? 0 : MREMAP_DONTUNMAP);
  return { name, at, units, newUnits, flags, to: unitsOf(match[2] as string, 'the new position') };
}

function fork(words: Words): RecordedOp {
  const word = words.next('the position');
  const at = word === '-1' ? -1 : unitsOf(word, 'the position');
  const write = wholeNumber(words.next('whether it writes'), 'whether it writes');
  // One that reads nothing has nowhere to write.
  return { name: 'fork', at, doesWrite: write !== 0 && at >= 0 };
}

/** Where a call applies, and to how many units. */
function span(words: Words): { at: number; units: number } {
  const at = words.units('the position');
  return { at, units: words.units('the length') };
}

const PARSERS: Readonly<Record<string, (words: Words) => RecordedOp>> = {
  mmap: (words) => ({
    name: 'mmap',
    ...span(words),
    prot: words.prot(),
    backing: words.backing(),
  }),
  mmapnr(words) {
    const op: RecordedOp = { name: 'mmapnr', ...span(words), prot: words.prot() };
    words.literal('x');
    return op;
  },
  mprotect: (words) => ({ name: 'mprotect', ...span(words), prot: words.prot() }),
  munmap: (words) => ({ name: 'munmap', ...span(words) }),
  mlock: (words) => ({ name: 'mlock', ...span(words) }),
  munlock: (words) => ({ name: 'munlock', ...span(words) }),
  msync: (words) => ({ name: 'msync', ...span(words) }),
  madvise: (words) => ({ name: 'madvise', ...span(words), advice: words.advice() }),
  mremap,
  read: (words) => ({ name: 'read', at: words.units('the position'), offset: words.offset() }),
  write: (words) => ({ name: 'write', at: words.units('the position'), offset: words.offset() }),
  fork,
  truncate: (words) => ({
    name: 'truncate',
    file: words.file(),
    units: words.units('the length'),
  }),
  punch: (words) => ({ name: 'punch', file: words.file(), ...span(words) }),
};

/**
 * Parses a call.
 *
 * @param fileNames the names of the header's files, in its order.
 * @throws OpError what is wrong with it.
 */
export function parseOp(text: string, fileNames: readonly string[]): RecordedOp {
  const words = new Words(text, fileNames);
  const name = words.next('the call');
  const parse = Object.hasOwn(PARSERS, name) ? PARSERS[name] : undefined;
  if (parse === undefined) throw new OpError(`there is no call '${name}'`);
  const op = parse(words);
  words.end();
  return op;
}

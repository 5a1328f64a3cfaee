/**
 * madvise.
 *
 * Holes are passed over, all else is done, and -ENOMEM comes at the end; advice that a VMA cannot take
 * ends the call at once. What changes flags holds mmap_sem for write, what touches pages for read.
 * Left out: MADV_COLD and MADV_PAGEOUT only check their arguments, MADV_WILLNEED reads nothing ahead;
 * hwpoison, guard pages, MADV_COLLAPSE.
 */
import { EACCES, EAGAIN, EFAULT, EINTR, EINVAL, ENODEV, ENOMEM } from '../base/errno.ts';
import * as mman from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { writeOnce } from '../kernel/field.ts';
import { fput, getFile } from '../kernel/open-file.ts';
import { downRead, downReadKillable, downWriteKillable, upRead, upWrite } from '../kernel/rwsem.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import * as flag from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { madviseFreeSingleVma } from './lazyfree.ts';
import { faultinPageRange } from './populate.ts';
import { punchHole } from './truncate.ts';
import { pageAlignWord, userFlags, userWord } from './user-word.ts';
import { vmaModifyFlags } from './vma-merge.ts';
import { findVma } from './vma.ts';
import { zapPageRangeSingle } from './zap.ts';

/** What advice does to the flags of a VMA: bits to set and bits to clear. */
const FLAG_CHANGES: Readonly<Record<number, readonly [set: number, clear: number]>> = {
  [mman.MADV_NORMAL]: [0, flag.VM_RAND_READ | flag.VM_SEQ_READ],
  [mman.MADV_RANDOM]: [flag.VM_RAND_READ, flag.VM_SEQ_READ],
  [mman.MADV_SEQUENTIAL]: [flag.VM_SEQ_READ, flag.VM_RAND_READ],
  [mman.MADV_DONTFORK]: [flag.VM_DONTCOPY, 0],
  [mman.MADV_DOFORK]: [0, flag.VM_DONTCOPY],
  [mman.MADV_WIPEONFORK]: [flag.VM_WIPEONFORK, 0],
  [mman.MADV_KEEPONFORK]: [0, flag.VM_WIPEONFORK],
  [mman.MADV_DONTDUMP]: [flag.VM_DONTDUMP, 0],
  [mman.MADV_DODUMP]: [0, flag.VM_DONTDUMP],
  [mman.MADV_MERGEABLE]: [flag.VM_MERGEABLE, 0],
  [mman.MADV_UNMERGEABLE]: [0, flag.VM_MERGEABLE],
  [mman.MADV_HUGEPAGE]: [flag.VM_HUGEPAGE, flag.VM_NOHUGEPAGE],
  [mman.MADV_NOHUGEPAGE]: [flag.VM_NOHUGEPAGE, flag.VM_HUGEPAGE],
};

const PAGE_ADVICE: ReadonlySet<number> = new Set([
  mman.MADV_WILLNEED,
  mman.MADV_DONTNEED,
  mman.MADV_FREE,
  mman.MADV_REMOVE,
  mman.MADV_COLD,
  mman.MADV_PAGEOUT,
]);

/** Advice, and the part of a VMA it is for. */
interface Part {
  readonly start: number;
  readonly end: number;
  readonly advice: number;
}

/** Changes the flags. Returns the VMA that has the part then, or -errno. mmap_sem is held for write. */
const madviseUpdateVma = fn(function* madviseUpdateVma(vma: VmArea, part: Part) {
  const { start, end, advice } = part;
  const [set, clear] = FLAG_CHANGES[advice]!;
  const before = vma.vmFlags;
  if (advice === mman.MADV_DOFORK && (before & flag.VM_IO) !== 0) return -EINVAL;
  if (advice === mman.MADV_WIPEONFORK) {
    if (vma.vmFile !== null || (before & flag.VM_SHARED) !== 0) return -EINVAL;
  }
  const flags = (before & ~clear) | set;
  if (flags === before) return vma;
  const changed = yield* vmaModifyFlags(vma, start, end, flags);
  if (typeof changed !== 'number') yield* writeOnce(changed, 'vmFlags', flags);
  return changed;
});

/**
 * MADV_REMOVE: a hole in the file. mmap_sem is held for read, and given up meanwhile: the inode's lock
 * comes before it.
 */
const madviseRemove = fn(function* madviseRemove(vma: VmArea, part: Part) {
  const { vmFile, mapping, vmFlags, vmStart, vmPgoff } = vma;
  const mm = vma.vmMm!;
  if ((vmFlags & flag.VM_LOCKED) !== 0 || vmFile === null || mapping === null) return -EINVAL;
  const needed = flag.VM_SHARED | flag.VM_MAYWRITE;
  if ((vmFlags & needed) !== needed) return -EACCES;
  // Of a device: there are no pages of a file to take out.
  if ((vmFlags & flag.VM_PFNMAP) !== 0) return -ENODEV;
  const offset = vmPgoff * PAGE_SIZE - vmStart;
  yield* getFile(vmFile);
  yield* upRead(mm.mmapSem);
  const error = yield* punchHole(mapping, offset + part.start, offset + part.end);
  yield* fput(vmFile);
  yield* downRead(mm.mmapSem);
  return error;
});

/** Advice that touches pages. Returns 0 or -errno. mmap_sem is held for read. */
const madvisePages = fn(
  function* madvisePages(vma: VmArea, part: Part) {
    const { start, end, advice } = part;
    if (advice === mman.MADV_REMOVE) return yield* madviseRemove(vma, part);
    if (advice === mman.MADV_WILLNEED) return 0;
    if ((vma.vmFlags & (flag.VM_LOCKED | flag.VM_PFNMAP)) !== 0) return -EINVAL;
    if (advice === mman.MADV_FREE) {
      if (vma.vmFile !== null) return -EINVAL;
      yield* madviseFreeSingleVma(vma, start, end);
    } else if (advice === mman.MADV_DONTNEED) {
      yield* zapPageRangeSingle(vma, start, end);
    }
    return 0;
  },
  { name: 'madvise_vma_behavior' },
);

/** Goes through the VMAs. Returns 0, -ENOMEM if there was a hole, or what a VMA said. */
const madviseWalkVmas = fn(function* madviseWalkVmas(
  mm: MmStruct,
  range: { readonly start: number; readonly end: number },
  advice: number,
) {
  const { end } = range;
  let at = range.start;
  let holeError = 0;
  while (at < end) {
    const vma = findVma(mm, at);
    if (vma === null || vma.vmStart >= end) return -ENOMEM;
    if (vma.vmStart > at) {
      holeError = -ENOMEM;
      at = vma.vmStart;
    }
    const part = { start: at, end: Math.min(vma.vmEnd, end), advice };
    at = part.end;
    if (PAGE_ADVICE.has(advice)) {
      const error = yield* madvisePages(vma, part);
      if (error !== 0) return error;
      continue;
    }
    const changed = yield* madviseUpdateVma(vma, part);
    if (typeof changed === 'number') return changed === -ENOMEM ? -EAGAIN : changed;
    at = Math.max(at, changed.vmEnd);
  }
  return holeError;
});

/** MADV_POPULATE_READ and WRITE: faults in what is not there. Takes mmap_sem for read. */
const madvisePopulate = fn(function* madvisePopulate(
  mm: MmStruct,
  start: number,
  end: number,
  isWrite: boolean,
) {
  if ((yield* downReadKillable(mm.mmapSem)) !== 0) return -EINTR;
  const error = yield* faultinPageRange(mm, start, end, isWrite);
  yield* upRead(mm.mmapSem);
  const isKnown = error === 0 || error === -EINVAL || error === -EFAULT || error === -EINTR;
  return isKnown ? error : -ENOMEM;
});

/**
 * `madvise(start, length, advice)`: 0, -EINVAL, -ENOMEM, -EACCES, -EFAULT, -EAGAIN, or -EINTR if a fatal
 * signal came. Takes mmap_sem.
 */
export const vmMadvise = fn(
  function* vmMadvise(mm: MmStruct, start: number, length: number, advice: number) {
    const from = userWord('the address', start);
    const bytes = userWord('the length', length);
    const what = userFlags('the advice', advice);
    const isPopulate = what === mman.MADV_POPULATE_READ || what === mman.MADV_POPULATE_WRITE;
    if (!(what in FLAG_CHANGES) && !PAGE_ADVICE.has(what) && !isPopulate) return -EINVAL;
    const size = pageAlignWord(bytes);
    if (from % PAGE_SIZE !== 0 || (bytes !== 0 && size === 0)) return -EINVAL;
    const range = { start: from, end: from + size };
    if (range.end >= 2 ** 48) return -EINVAL;
    if (size === 0) return 0;
    if (isPopulate) {
      const isWrite = what === mman.MADV_POPULATE_WRITE;
      return yield* madvisePopulate(mm, range.start, range.end, isWrite);
    }
    if (PAGE_ADVICE.has(what)) {
      yield* downRead(mm.mmapSem);
      const result = yield* madviseWalkVmas(mm, range, what);
      yield* upRead(mm.mmapSem);
      return result;
    }
    if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
    const result = yield* madviseWalkVmas(mm, range, what);
    yield* upWrite(mm.mmapSem);
    return result;
  },
  { name: 'do_madvise' },
);

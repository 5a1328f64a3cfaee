/**
 * mlock and munlock: the flag on all VMAs first, then the pages.
 *
 * Left out: the limit of locked memory, and counting a page's locks (no reclaim looks at them: a VMA with
 * VM_LOCKED keeps its pages).
 */
import { EAGAIN, EFAULT, EINTR, EINVAL, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { writeOnce } from '../kernel/field.ts';
import { downWriteKillable, upWrite } from '../kernel/rwsem.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { VM_LOCKED, VM_SPECIAL } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmPopulate } from './populate.ts';
import { pageAlignWord, userWord } from './user-word.ts';
import { vmaModifyFlags } from './vma-merge.ts';
import { findVma, PAGE_SIZE, vmaLookup } from './vma.ts';

/** Sets or clears VM_LOCKED in [start, end). 0, or -ENOMEM at the first hole. */
const applyVmaLockFlags = fn(function* applyVmaLockFlags(
  mm: MmStruct,
  start: number,
  end: number,
  locked: number,
) {
  let vma = vmaLookup(mm, start);
  let at = start;
  while (at < end) {
    if (vma === null || vma.vmStart > at) return -ENOMEM;
    const flags = (vma.vmFlags & ~VM_LOCKED) | locked;
    if (flags !== vma.vmFlags && (vma.vmFlags & VM_SPECIAL) === 0) {
      const changed: VmArea | number = yield* vmaModifyFlags(
        vma,
        at,
        Math.min(vma.vmEnd, end),
        flags,
      );
      if (typeof changed === 'number') return changed;
      yield* writeOnce(changed, 'vmFlags', flags);
      vma = changed;
    }
    at = vma.vmEnd;
    if (at < end) vma = findVma(mm, at);
  }
  return 0;
});

/** The pages around [start, start + length), or -EINVAL if that wraps. */
function pagesAround(start: number, length: number): { start: number; end: number } | number {
  const offset = start % PAGE_SIZE;
  const from = start - offset;
  const size = pageAlignWord(length + offset);
  return from + size >= 2 ** 48 ? -EINVAL : { start: from, end: from + size };
}

const changeLock = fn(
  function* changeLock(mm: MmStruct, range: { start: number; end: number }, locked: number) {
    if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
    const error = yield* applyVmaLockFlags(mm, range.start, range.end, locked);
    yield* upWrite(mm.mmapSem);
    return error;
  },
  { name: 'apply_vma_lock_flags' },
);

/**
 * `mlock(start, length)`: 0, -EINVAL, -ENOMEM, -EAGAIN, or -EINTR if a fatal signal came. Takes mmap_sem
 * for write, then for read.
 */
export const vmMlock = fn(
  function* vmMlock(mm: MmStruct, start: number, length: number) {
    const range = pagesAround(userWord('the address', start), userWord('the length', length));
    if (typeof range === 'number') return range;
    const error = yield* changeLock(mm, range, VM_LOCKED);
    if (error !== 0 || range.start === range.end) return error;
    const populated = yield* mmPopulate(mm, range.start, range.end - range.start, false);
    // POSIX has its own meanings for these.
    if (populated === -EFAULT) return -ENOMEM;
    return populated === -ENOMEM ? -EAGAIN : populated;
  },
  { name: 'do_mlock' },
);

/** `munlock(start, length)`: 0, -EINVAL, -ENOMEM, or -EINTR. Takes mmap_sem for write. */
export const vmMunlock = fn(
  function* vmMunlock(mm: MmStruct, start: number, length: number) {
    const range = pagesAround(userWord('the address', start), userWord('the length', length));
    return typeof range === 'number' ? range : yield* changeLock(mm, range, 0);
  },
  { name: 'munlock' },
);

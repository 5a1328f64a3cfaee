/**
 * msync. All files are of tmpfs, so there is nothing to write; what is left is what it says of its
 * arguments and of holes.
 */
import { EBUSY, EINTR, EINVAL, ENOMEM } from '../base/errno.ts';
import { MS_ASYNC, MS_INVALIDATE, MS_SYNC } from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { downReadKillable, upRead } from '../kernel/rwsem.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { VM_LOCKED } from '../mm-types/vm-flags.ts';
import { pageAlignWord, userFlags, userWord } from './user-word.ts';
import { findVma, PAGE_SIZE, vmaNext } from './vma.ts';

/** What msync says of [start, end), which is not empty. mmap_sem is held. */
function check(mm: MmStruct, start: number, end: number, flags: number): number {
  let at = start;
  let vma = findVma(mm, at);
  let hasHole = false;
  for (;;) {
    if (vma === null) return -ENOMEM;
    if (at < vma.vmStart) {
      // Nothing would be written any more: it does not look further.
      if (flags === MS_ASYNC || vma.vmStart >= end) return -ENOMEM;
      hasHole = true;
    }
    if ((flags & MS_INVALIDATE) !== 0 && (vma.vmFlags & VM_LOCKED) !== 0) return -EBUSY;
    at = vma.vmEnd;
    if (at >= end) return hasHole ? -ENOMEM : 0;
    vma = vmaNext(vma);
  }
}

/** `msync(start, length, flags)`: 0, -EINVAL, -ENOMEM, -EBUSY. Takes mmap_sem for read. */
export const vmMsync = fn(
  function* vmMsync(mm: MmStruct, start: number, length: number, flags: number) {
    const from = userWord('the address', start);
    const how = userFlags('the flags', flags);
    const size = pageAlignWord(userWord('the length', length));
    if ((how & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) !== 0 || from % PAGE_SIZE !== 0) {
      return -EINVAL;
    }
    if ((how & (MS_ASYNC | MS_SYNC)) === (MS_ASYNC | MS_SYNC)) return -EINVAL;
    if (from + size >= 2 ** 48) return -ENOMEM;
    if (size === 0) return 0;
    if ((yield* downReadKillable(mm.mmapSem)) !== 0) return -EINTR;
    const result = check(mm, from, from + size, how);
    yield* upRead(mm.mmapSem);
    return result;
  },
  { name: 'msync' },
);

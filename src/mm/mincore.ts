/** mincore: which pages an access would find without I/O. */
import { EINTR, EINVAL, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { downReadKillable, upRead } from '../kernel/rwsem.ts';
import { TASK_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { mincoreRange } from './mincore-range.ts';
import { pageAlignWord, userWord } from './user-word.ts';
import { PAGE_SIZE, vmaLookup } from './vma.ts';

/**
 * `mincore(start, length)`: a byte for each page, 1 if it is in memory; or -EINVAL, -ENOMEM (a hole, or
 * addresses no program has). Takes mmap_sem for read.
 */
export const vmMincore = fn(
  function* vmMincore(mm: MmStruct, start: number, length: number) {
    const from = userWord('the address', start);
    const bytes = userWord('the length', length);
    if (from % PAGE_SIZE !== 0) return -EINVAL;
    if (from > TASK_SIZE || bytes > TASK_SIZE - from) return -ENOMEM;
    const end = from + pageAlignWord(bytes);
    if ((yield* downReadKillable(mm.mmapSem)) !== 0) return -EINTR;
    const isWhole = isMapped(mm, from, end);
    // Only for what is mapped all through: a length may be anything.
    const out = new Uint8Array(isWhole ? (end - from) / PAGE_SIZE : 0);
    let at = isWhole ? from : end;
    while (at < end) {
      const vma = vmaLookup(mm, at)!;
      const until = Math.min(vma.vmEnd, end);
      yield* mincoreRange(vma, at, until, { bytes: out, at: (at - from) / PAGE_SIZE });
      at = until;
    }
    yield* upRead(mm.mmapSem);
    return isWhole ? out : -ENOMEM;
  },
  { name: 'mincore' },
);

/** Whether [start, end) has no hole. mmap_sem is held. */
function isMapped(mm: MmStruct, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const vma = vmaLookup(mm, at);
    if (vma === null) return false;
    at = vma.vmEnd;
  }
  return true;
}

/**
 * brk: the end of the heap, an anonymous mapping that grows upwards.
 *
 * Left out: limits of resources, randomisation of the start.
 */
import { EINTR, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { downWriteKillable, upWrite } from '../kernel/rwsem.ts';
import { TASK_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import {
  VM_ACCOUNT,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_READ,
  VM_WRITE,
} from '../mm-types/vm-flags.ts';
import { doMunmapUnlock } from './munmap.ts';
import { pageAlignWord, userWord } from './user-word.ts';
import { vmaMergeNewRange } from './vma-merge.ts';
import {
  findVma,
  findVmaIntersection,
  MAP_COUNT_MAX,
  PAGE_SIZE,
  vmaLink,
  vmAreaAlloc,
} from './vma.ts';

const HEAP_FLAGS = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_ACCOUNT;

/** Extends the VMA before, or makes one. 0 or -ENOMEM. */
const doBrkFlags = fn(function* doBrkFlags(mm: MmStruct, start: number, end: number) {
  if (mm.mapCount > MAP_COUNT_MAX) return -ENOMEM;
  const proposal = {
    start,
    end,
    flags: HEAP_FLAGS,
    file: null,
    pgoff: start / PAGE_SIZE,
    anonVma: null,
    source: null,
  };
  if ((yield* vmaMergeNewRange(mm, proposal, true)) !== null) return 0;
  const vma = yield* vmAreaAlloc(mm, start, end);
  if (vma === null) return -ENOMEM;
  vma.vmFlags = HEAP_FLAGS;
  vma.vmPgoff = start / PAGE_SIZE;
  vmaLink(mm, vma);
  return 0;
});

/** Whether the heap may end at `end`: a page of distance to what follows is kept. */
function hasRoom(mm: MmStruct, from: number, end: number): boolean {
  if (end > TASK_SIZE) return false;
  const next = findVma(mm, from);
  return next === null || next.vmStart >= end + PAGE_SIZE;
}

/**
 * `brk(address)`: moves the end of the heap there, if that is possible. Returns where it ends now: with no
 * error, as the system call; -EINTR if a fatal signal came. Takes mmap_sem for write.
 */
export const vmBrk = fn(
  function* vmBrk(mm: MmStruct, address: number) {
    const wanted = userWord('the address', address);
    if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
    const { brk, startBrk } = mm;
    const newEnd = pageAlignWord(wanted);
    const oldEnd = pageAlignWord(brk);
    let result = brk;
    if (wanted >= startBrk && newEnd !== 0) {
      if (newEnd === oldEnd) {
        mm.brk = wanted;
        result = wanted;
      } else if (wanted < brk) {
        const first = findVmaIntersection(mm, newEnd, oldEnd);
        if (first !== null) {
          mm.brk = wanted;
          if ((yield* doMunmapUnlock(mm, newEnd, oldEnd)) === 0) return wanted;
          mm.brk = brk;
        }
      } else if (hasRoom(mm, oldEnd, newEnd) && (yield* doBrkFlags(mm, oldEnd, newEnd)) === 0) {
        mm.brk = wanted;
        result = wanted;
      }
    }
    yield* upWrite(mm.mmapSem);
    return result;
  },
  { name: 'brk' },
);

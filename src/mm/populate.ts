/**
 * Faulting in ahead: mlock, MAP_POPULATE, MADV_POPULATE_READ and MADV_POPULATE_WRITE.
 *
 * Private memory that may be written is faulted in for writing, everything else for reading; whatever is
 * there already stays as it is.
 */
import { EFAULT, EINVAL, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { downRead, upRead } from '../kernel/rwsem.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { VM_IO, VM_PFNMAP, VM_SHARED, VM_WRITE } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { checkVmaFlags, faultinPage, FOLL_FORCE, FOLL_WRITE } from './gup.ts';
import { isAccessible } from './pte-rights.ts';
import { findVma } from './vma.ts';

/**
 * `populate_vma_page_range(vma, start, end)`: mlock of one VMA: 0, -EFAULT where it may not be accessed or
 * behind the end of the file, or -ENOMEM. Pages before that stay. mmap_sem held for read. May sleep.
 */
export const populateVmaPageRange = fn(function* populateVmaPageRange(
  vma: VmArea,
  start: number,
  end: number,
) {
  const isWrite = (vma.vmFlags & (VM_WRITE | VM_SHARED)) === VM_WRITE;
  const flags = (isWrite ? FOLL_WRITE : 0) | (isAccessible(vma.vmFlags) ? FOLL_FORCE : 0);
  const error = checkVmaFlags(vma, flags);
  if (error !== 0) return error;
  for (let address = start; address < end; address += PAGE_SIZE) {
    const page = yield* faultinPage(vma, address, flags);
    if (typeof page === 'number') return page;
  }
  return 0;
});

/** The first VMA that overlaps [start, end), or NULL. mmap_sem held. */
function findVmaIntersection(mm: MmStruct, start: number, end: number): VmArea | null {
  const vma = findVma(mm, start);
  return vma !== null && vma.vmStart < end ? vma : null;
}

/**
 * `__mm_populate(mm, start, length, ignore_errors)`: for mlock, MAP_POPULATE and growing locked mappings. Holes
 * are skipped. Takes mmap_sem for read. 0, or -EFAULT or -ENOMEM if errors are not ignored; mlock turns the
 * first into -ENOMEM and the second into -EAGAIN. May sleep.
 */
export const mmPopulate = fn(
  function* mmPopulate(mm: MmStruct, start: number, length: number, ignoresErrors: boolean) {
    const end = start + length;
    let result = 0;
    yield* downRead(mm.mmapSem);
    let vma = findVmaIntersection(mm, start, end);
    while (vma !== null) {
      const from = Math.max(start, vma.vmStart);
      const to = Math.min(end, vma.vmEnd);
      if ((vma.vmFlags & (VM_IO | VM_PFNMAP)) === 0) {
        result = yield* populateVmaPageRange(vma, from, to);
        if (result < 0 && !ignoresErrors) break;
      }
      result = 0;
      // What was locked before may reach beyond the range.
      vma = to < end ? findVmaIntersection(mm, to, end) : null;
    }
    yield* upRead(mm.mmapSem);
    return result;
  },
  { name: '__mm_populate' },
);

/**
 * `faultin_page_range(mm, start, end, write)`: MADV_POPULATE_READ and WRITE. 0, -ENOMEM at a hole, -EINVAL where
 * the VMA does not permit it, -EFAULT where a fault would end in a signal. Pages before that stay. mmap_sem held
 * for read. May sleep.
 */
export const faultinPageRange = fn(function* faultinPageRange(
  mm: MmStruct,
  start: number,
  end: number,
  isWrite: boolean,
) {
  const flags = isWrite ? FOLL_WRITE : 0;
  let vma: VmArea | null = null;
  for (let address = start; address < end; address += PAGE_SIZE) {
    if (vma === null || address >= vma.vmEnd) {
      vma = findVma(mm, address);
      if (vma === null || vma.vmStart > address) return -ENOMEM;
      if (checkVmaFlags(vma, flags) === -EFAULT) return -EINVAL;
    }
    const page = yield* faultinPage(vma, address, flags);
    if (typeof page === 'number') return page;
  }
  return 0;
});

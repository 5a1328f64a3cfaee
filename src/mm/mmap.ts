/**
 * mmap.
 *
 * Modelled: where a mapping goes, what it replaces, its flags and limits, what it joins, MAP_POPULATE and
 * MAP_LOCKED. Source of the order of checks: v6.18 mm/mmap.c and a real 6.18.
 * Left out: MAP_32BIT, hugetlb, MAP_SYNC, limits of resources, randomisation; MAP_GROWSDOWN is a flag that
 * nothing grows by.
 */
import {
  EACCES,
  EBADF,
  EEXIST,
  EINTR,
  EINVAL,
  ENODEV,
  ENOMEM,
  EOPNOTSUPP,
  EOVERFLOW,
} from '../base/errno.ts';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_GROWSDOWN,
  MAP_LOCKED,
  MAP_NONBLOCK,
  MAP_NORESERVE,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  MAP_SHARED_VALIDATE,
  MAP_STACK,
  PROT_READ,
  PROT_WRITE,
} from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { getFile, type File } from '../kernel/open-file.ts';
import { downWriteKillable, upWrite } from '../kernel/rwsem.ts';
import { MMAP_MIN_ADDR, TASK_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { FMODE_READ, FMODE_WRITE } from '../mm-types/shmem-file.ts';
import {
  VM_ACCOUNT,
  VM_GROWSDOWN,
  VM_LOCKED,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_NORESERVE,
  VM_SHARED,
  VM_WRITE,
} from '../mm-types/vm-flags.ts';
import { vmaLinkFile } from './file-mapping.ts';
import { doMunmap, removeVmas, unmapRegion } from './munmap.ts';
import { mmPopulate } from './populate.ts';
import { shmemFileOf, shmemFileSetup } from './shmem-file.ts';
import { unmappedArea } from './unmapped-area.ts';
import { pageAlignWord, userFlags, userWord } from './user-word.ts';
import { vmaMergeNewRange } from './vma-merge.ts';
import {
  findVma,
  findVmaBelow,
  findVmaIntersection,
  hasNeighbour,
  MAP_COUNT_MAX,
  PAGE_SIZE,
  vmaLink,
  vmAreaAlloc,
  vmAreaFree,
} from './vma.ts';

export { vmMunmap } from './munmap.ts';

/** How memory is to be mapped. */
export interface MmapOptions {
  /** PROT_*; readable and writable if left out. */
  readonly prot?: number;
  /** MAP_*; private and anonymous if left out. */
  readonly flags?: number;
  /** The file that is mapped, unless MAP_ANONYMOUS is set. The caller holds a reference. */
  readonly file?: File | null;
  /** Where in the file the mapping begins, in bytes, page aligned. */
  readonly offset?: number;
}

/** Flags that MAP_SHARED_VALIDATE lets pass. */
const KNOWN_FLAGS =
  MAP_SHARED |
  MAP_PRIVATE |
  MAP_FIXED |
  MAP_ANONYMOUS |
  MAP_GROWSDOWN |
  MAP_LOCKED |
  MAP_NORESERVE |
  MAP_POPULATE |
  MAP_NONBLOCK |
  MAP_STACK |
  // MAP_DENYWRITE, MAP_EXECUTABLE, MAP_32BIT, MAP_HUGETLB.
  0x800 |
  0x1000 |
  0x40 |
  0x4_0000;

/** The arguments after the first checks. */
interface Request {
  readonly address: number;
  readonly size: number;
  readonly prot: number;
  readonly flags: number;
  readonly file: File | null;
  /** Pages. */
  readonly pgoff: number;
}

/**
 * `get_unmapped_area`: where `size` bytes are to go: at `address` if it is fixed, or free; otherwise
 * anywhere. -ENOMEM, or -EINVAL for an address that is no start of a page. mmap_sem is held.
 */
export function getUnmappedArea(
  mm: MmStruct,
  address: number,
  size: number,
  isFixed: boolean,
): number {
  if (size > TASK_SIZE - MMAP_MIN_ADDR) return -ENOMEM;
  if (isFixed) {
    if (address > TASK_SIZE - size) return -ENOMEM;
    return address % PAGE_SIZE === 0 ? address : -EINVAL;
  }
  if (address !== 0) {
    const isInside = address >= MMAP_MIN_ADDR && address <= TASK_SIZE - size;
    if (isInside && findVmaIntersection(mm, address, address + size) === null) return address;
  }
  return unmappedArea(mm, size);
}

/** A hint, rounded to a page, and up to where mappings may be. */
function roundHint(address: number): number {
  const rounded = address - (address % PAGE_SIZE);
  return rounded !== 0 && rounded < MMAP_MIN_ADDR ? MMAP_MIN_ADDR : rounded;
}

/** Rights of a mapping, VM_* of PROT_* and MAP_*, before the kind of mapping is looked at. */
function basicFlags(prot: number, flags: number): number {
  let result = (prot & 7) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
  if ((flags & MAP_LOCKED) !== 0) result |= VM_LOCKED;
  if ((flags & MAP_GROWSDOWN) !== 0) result |= VM_GROWSDOWN;
  if ((flags & MAP_NORESERVE) !== 0) result |= VM_NORESERVE;
  return result;
}

/** The flags of the new VMA, or -errno if the mapping is not allowed. */
function vmFlagsOf(request: Request): number {
  const { prot, flags, file } = request;
  const type = flags & MAP_SHARED_VALIDATE;
  const result = basicFlags(prot, flags);
  if (file === null) {
    if (type === MAP_PRIVATE) return result;
    if (type !== MAP_SHARED || (flags & MAP_GROWSDOWN) !== 0) return -EINVAL;
    return result | VM_SHARED | VM_MAYSHARE;
  }
  if (type === 0) return -EINVAL;
  const own = shmemFileOf(file);
  const mode = own?.mode ?? FMODE_READ | FMODE_WRITE;
  let added = 0;
  let removed = 0;
  if (type !== MAP_PRIVATE) {
    if (type === MAP_SHARED_VALIDATE && (flags & ~KNOWN_FLAGS) !== 0) return -EOPNOTSUPP;
    if ((prot & PROT_WRITE) !== 0 && (mode & FMODE_WRITE) === 0) return -EACCES;
    added = VM_SHARED | VM_MAYSHARE;
    // Can never become writable, so it is as good as private.
    if ((mode & FMODE_WRITE) === 0) removed = VM_MAYWRITE | VM_SHARED;
  }
  if ((mode & FMODE_READ) === 0) return -EACCES;
  if (own === null && file.fOp?.mmap === undefined) return -ENODEV;
  if ((flags & MAP_GROWSDOWN) !== 0) return -EINVAL;
  return (result | added) & ~removed;
}

/**
 * `mmap_region`: makes the mapping at an address that was chosen, instead of what is there. Returns the
 * address or -ENOMEM. mmap_sem is held for write.
 */
const mmapRegion = fn(function* mmapRegion(mm: MmStruct, request: Request, vmFlags: number) {
  const { address, size, file, pgoff } = request;
  const end = address + size;
  if (findVmaIntersection(mm, address, end) !== null) {
    const error = yield* doMunmap(mm, address, end);
    if (error !== 0) return error;
  }
  const isAccountable = (vmFlags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) === VM_WRITE;
  const flags = isAccountable ? vmFlags | VM_ACCOUNT : vmFlags;
  const isShared = (flags & VM_SHARED) !== 0;
  // Each shared anonymous mapping is a file of its own, so it joins none that is there.
  if ((file !== null || !isShared) && hasNeighbour(mm, address, end)) {
    const proposal = { start: address, end, flags, file, pgoff, anonVma: null, source: null };
    if ((yield* vmaMergeNewRange(mm, proposal)) !== null) return address;
  }
  return yield* mmapNewVma(mm, { ...request, pgoff: file === null && isShared ? 0 : pgoff }, flags);
});

const mmapNewVma = fn(
  function* mmapNewVma(mm: MmStruct, request: Request, flags: number) {
    const { address, size, pgoff } = request;
    let { file } = request;
    const vma = yield* vmAreaAlloc(mm, address, address + size);
    if (vma === null) return -ENOMEM;
    if (file !== null) {
      yield* getFile(file);
    } else if ((flags & VM_SHARED) !== 0) {
      file = yield* shmemFileSetup(size);
      if (file === null) {
        yield* vmAreaFree(vma);
        return -ENOMEM;
      }
    }
    vma.vmFlags = flags;
    vma.vmPgoff = pgoff;
    vma.vmFile = file;
    vma.mapping = file === null ? null : (shmemFileOf(file)?.mapping ?? null);
    const error = file === null ? 0 : yield* callMmap(file, vma);
    if (error !== 0) {
      yield* undoMmap(vma);
      return error;
    }
    vmaLink(mm, vma);
    if (vma.mapping !== null) yield* vmaLinkFile(vma);
    return address;
  },
  { name: '__mmap_new_vma' },
);

/** The part of a device's driver, which may map frames: 0 or -errno. */
const callMmap = fn(function* callMmap(file: File, vma: VmArea) {
  const mmap = file.fOp?.mmap;
  return mmap === undefined ? 0 : yield* mmap(file, vma as never);
});

/** A driver has refused, perhaps after it has mapped something: as if nothing had been. */
const undoMmap = fn(
  function* undoMmap(vma: VmArea) {
    const mm = vma.vmMm as MmStruct;
    const { vmStart: start, vmEnd: end } = vma;
    const before = findVmaBelow(mm, start);
    const after = findVma(mm, end);
    // Nobody finds it by the file yet, and the driver has undone what was its own.
    vma.mapping = null;
    vma.vmOps = null;
    const floor = before === null ? 0 : before.vmEnd;
    const ceiling = after === null ? 0 : after.vmStart;
    yield* unmapRegion(mm, { start, end, vmas: [vma], floor, ceiling });
    yield* removeVmas([vma]);
  },
  { name: 'unmap_region' },
);

/** `do_mmap`, from the choice of the address on. mmap_sem is held for write. */
const doMmap = fn(function* doMmap(mm: MmStruct, request: Request) {
  if (mm.mapCount > MAP_COUNT_MAX) return -ENOMEM;
  const { size, flags } = request;
  const isFixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0;
  const hint = isFixed ? request.address : roundHint(request.address);
  const address = getUnmappedArea(mm, hint, size, isFixed);
  if (address < 0) return address;
  const isTaken = findVmaIntersection(mm, address, address + size) !== null;
  if ((flags & MAP_FIXED_NOREPLACE) !== 0 && isTaken) return -EEXIST;
  const vmFlags = vmFlagsOf(request);
  if (vmFlags < 0) return vmFlags;
  const pgoff = request.file === null ? address / PAGE_SIZE : request.pgoff;
  return yield* mmapRegion(mm, { ...request, address, pgoff }, vmFlags);
});

/**
 * Maps `length` bytes at `address`, which is a hint unless MAP_FIXED says otherwise, or anywhere if it is
 * 0. Returns the address, -EINVAL, -ENOMEM, -EEXIST, -EACCES, -EBADF, -EOVERFLOW, -EOPNOTSUPP, -ENODEV, or
 * -EINTR if a fatal signal came. Takes mmap_sem.
 *
 * @kernel vm_mmap
 */
export const vmMmap = fn(function* vmMmap(
  mm: MmStruct,
  address: number,
  length: number,
  options: MmapOptions = {},
) {
  const flags = userFlags('the flags', options.flags ?? MAP_PRIVATE | MAP_ANONYMOUS);
  const prot = userFlags('the protection', options.prot ?? PROT_READ | PROT_WRITE);
  const isAnonymous = (flags & MAP_ANONYMOUS) !== 0;
  const offset = userWord('the offset', options.offset ?? 0);
  if (offset % PAGE_SIZE !== 0) return -EINVAL;
  const file = isAnonymous ? null : (options.file ?? null);
  if (!isAnonymous && file === null) return -EBADF;
  const bytes = userWord('the length', length);
  if (bytes === 0) return -EINVAL;
  const size = pageAlignWord(bytes);
  if (size === 0) return -ENOMEM;
  // Beyond what a file can be: MAX_LFS_FILESIZE.
  if (file !== null && offset + size > 2 ** 48) return -EOVERFLOW;
  const at = userWord('the address', address);
  const request: Request = { address: at, size, prot, flags, file, pgoff: offset / PAGE_SIZE };
  if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
  const result = yield* doMmap(mm, request);
  yield* upWrite(mm.mmapSem);
  const populates =
    (flags & MAP_LOCKED) !== 0 || (flags & (MAP_POPULATE | MAP_NONBLOCK)) === MAP_POPULATE;
  if (result >= 0 && populates) yield* mmPopulate(mm, result, size, true);
  return result;
});

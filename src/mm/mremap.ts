/**
 * mremap: the checks, and shrinking and growing in place. Moving is in mremap-move.ts.
 *
 * Nothing is unmapped before the checks have passed. Source of the order of checks: v6.18 mm/mremap.c and
 * a real 6.18.
 * Left out: hugetlb, userfaultfd, sealed mappings, limits of resources.
 */
import { EFAULT, EINTR, EINVAL, ENOMEM } from '../base/errno.ts';
import { MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE } from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import { downWriteKillable, upWrite } from '../kernel/rwsem.ts';
import { TASK_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import {
  VM_DONTEXPAND,
  VM_LOCKED,
  VM_MAYSHARE,
  VM_PFNMAP,
  VM_SHARED,
} from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { behaviourOf } from './behaviour.ts';
import { getUnmappedArea } from './mmap.ts';
import { moveVma } from './mremap-move.ts';
import { doMunmap, doMunmapUnlock } from './munmap.ts';
import { mmPopulate } from './populate.ts';
import { pageAlignWord, userFlags, userWord } from './user-word.ts';
import { vmaMergeNewRange } from './vma-merge.ts';
import { findVma, findVmaIntersection, MAP_COUNT_MAX, PAGE_SIZE, vmaLookup } from './vma.ts';

/** What is to be moved or resized; page aligned. */
export interface Remap {
  readonly address: number;
  readonly oldLength: number;
  readonly newLength: number;
  /** MREMAP_*. */
  readonly flags: number;
  /** Where to, with MREMAP_FIXED; a hint with MREMAP_DONTUNMAP alone. */
  readonly newAddress: number;
}

/** How to remap; see {@link vmMremap}. */
export interface MremapOptions {
  /** MREMAP_*; none if left out. */
  readonly flags?: number;
  /** For MREMAP_FIXED, in bytes. */
  readonly newAddress?: number;
}

function impliesNewAddress(remap: Remap): boolean {
  return (remap.flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0;
}

/** Checks that need no lock. 0 or -EINVAL. */
function checkParameters(remap: Remap): number {
  const { address, oldLength, newLength, flags, newAddress } = remap;
  if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0) return -EINVAL;
  if (address % PAGE_SIZE !== 0 || newLength === 0 || newLength > TASK_SIZE) return -EINVAL;
  if (!impliesNewAddress(remap)) return 0;
  if (newAddress > TASK_SIZE - newLength || newAddress % PAGE_SIZE !== 0) return -EINVAL;
  if ((flags & MREMAP_MAYMOVE) === 0) return -EINVAL;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && oldLength !== newLength) return -EINVAL;
  const overlaps = address + oldLength > newAddress && newAddress + newLength > address;
  return overlaps ? -EINVAL : 0;
}

/** Whether the VMA may be remapped like that: 0, -EFAULT or -EINVAL. mmap_sem is held. */
function checkVma(vma: VmArea | null, remap: Remap): number {
  if (vma === null) return -EFAULT;
  const { address, oldLength, newLength, flags } = remap;
  if (!impliesNewAddress(remap) && newLength <= oldLength) return 0;
  // Copying private memory would make memory that has nothing to do with it.
  if (oldLength === 0 && (vma.vmFlags & (VM_SHARED | VM_MAYSHARE)) === 0) return -EINVAL;
  const isFixedInPlace = (vma.vmFlags & (VM_DONTEXPAND | VM_PFNMAP)) !== 0;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && isFixedInPlace) return -EINVAL;
  // What a shrink cuts off may be anything; what stays must be of one VMA.
  if (Math.min(oldLength, newLength) > vma.vmEnd - address) return -EFAULT;
  return newLength > oldLength && isFixedInPlace ? -EFAULT : 0;
}

/** `do_munmap` with the check of a range that no program has. */
const unmapTail = fn(
  function* unmapTail(mm: MmStruct, start: number, end: number) {
    return end > TASK_SIZE ? -EINVAL : yield* doMunmap(mm, start, end);
  },
  { name: 'shrink_vma' },
);

/** Unmaps what is in the way at the target, and the source's tail. 0 or -errno. */
const makeWay = fn(
  function* makeWay(mm: MmStruct, remap: Remap) {
    const { address, oldLength, newLength, newAddress, flags } = remap;
    if ((flags & MREMAP_FIXED) !== 0) {
      const error = yield* doMunmap(mm, newAddress, newAddress + newLength);
      if (error !== 0) return error;
    }
    if (oldLength <= newLength) return 0;
    return yield* unmapTail(mm, address + newLength, address + oldLength);
  },
  { name: 'mremap_to' },
);

/**
 * A move to a given place (or, for MREMAP_DONTUNMAP alone, anywhere). Returns the new address or -errno.
 * mmap_sem is held for write.
 */
const mremapTo = fn(function* mremapTo(mm: MmStruct, remap: Remap) {
  const { address, newLength, flags } = remap;
  const unmapsFirst = behaviourOf(running).mremapUnmapsBeforeChecks;
  let error = unmapsFirst ? 0 : checkVma(vmaLookup(mm, address), remap);
  if (error !== 0) return error;
  error = yield* makeWay(mm, remap);
  if (error !== 0) return error;
  // A target in the same VMA may have split it.
  const vma = vmaLookup(mm, address);
  const moved = { ...remap, oldLength: Math.min(remap.oldLength, newLength) };
  error = unmapsFirst ? checkVma(vma, moved) : 0;
  if (vma === null) error = -EFAULT;
  if (error !== 0) return error;
  const isFixed = (flags & MREMAP_FIXED) !== 0;
  const newAddress = getUnmappedArea(mm, remap.newAddress, newLength, isFixed);
  if (newAddress < 0) return newAddress;
  return yield* moveVma(vma!, { ...moved, newAddress });
});

/**
 * MREMAP_FIXED with the same length, from v6.17 on: each VMA in the range is moved by itself, their
 * distances are kept, holes are skipped. Returns the new address or -errno; what was moved stays moved.
 * mmap_sem is held for write.
 */
const remapMove = fn(function* remapMove(mm: MmStruct, remap: Remap) {
  const { address, oldLength, newAddress } = remap;
  const end = address + oldLength;
  let vma = findVma(mm, address);
  if (vma === null || vma.vmStart > address) return -EFAULT;
  let at = address;
  while (vma !== null && vma.vmStart < end) {
    at = Math.max(vma.vmStart, at);
    // As it is now: the move may make it longer, and its pages must not be moved twice.
    const until = vma.vmEnd;
    const length = Math.min(until, end) - at;
    const to = newAddress + (at - address);
    const part = { ...remap, address: at, oldLength: length, newLength: length, newAddress: to };
    const result = yield* mremapTo(mm, part);
    if (result < 0) return result;
    at = until;
    vma = at < end ? findVma(mm, at) : null;
  }
  return newAddress;
});

/** Makes the VMA longer where it is. The address, or -ENOMEM. mmap_sem is held for write. */
const expandVmaInPlace = fn(function* expandVmaInPlace(vma: VmArea, remap: Remap) {
  const start = vma.vmEnd;
  const proposal = {
    start,
    end: start + remap.newLength - remap.oldLength,
    flags: vma.vmFlags,
    file: vma.vmFile,
    pgoff: vma.vmPgoff + (start - vma.vmStart) / PAGE_SIZE,
    anonVma: vma.anonVma,
    source: null,
  };
  const grown = yield* vmaMergeNewRange(vma.vmMm!, proposal);
  return grown === null ? -ENOMEM : remap.address;
});

/** Growing, without a given place. The address or -errno. mmap_sem is held for write. */
const expandVma = fn(function* expandVma(mm: MmStruct, vma: VmArea, remap: Remap) {
  const { address, oldLength, newLength, flags } = remap;
  const end = address + newLength;
  const isAtEnd = address + oldLength === vma.vmEnd;
  const isFree = end <= TASK_SIZE && findVmaIntersection(mm, vma.vmEnd, end) === null;
  if (isAtEnd && isFree) return yield* expandVmaInPlace(vma, remap);
  if ((flags & MREMAP_MAYMOVE) === 0) return -ENOMEM;
  const newAddress = getUnmappedArea(mm, 0, newLength, false);
  if (newAddress < 0) return newAddress;
  return yield* moveVma(vma, { ...remap, newAddress });
});

/** The result, and whether mmap_sem was given up on the way. */
interface Outcome {
  readonly result: number;
  readonly isUnlocked: boolean;
}

const held = (result: number): Outcome => ({ result, isUnlocked: false });

/** Dispatches. mmap_sem is held for write, and given up if the outcome says so. */
const doMremap = fn(function* doMremap(mm: MmStruct, remap: Remap) {
  const { address, oldLength, newLength, flags } = remap;
  const vma = vmaLookup(mm, address);
  if (impliesNewAddress(remap)) {
    const isMoveOnly = (flags & MREMAP_FIXED) !== 0 && oldLength === newLength;
    const isSeveral = isMoveOnly && behaviourOf(running).mremapSeveralVmas;
    return held(yield* isSeveral ? remapMove(mm, remap) : mremapTo(mm, remap));
  }
  const error = checkVma(vma, remap);
  if (error !== 0 || vma === null) return held(error);
  if (newLength > oldLength) return held(yield* expandVma(mm, vma, remap));
  if (newLength === oldLength) return held(address);
  if (address + oldLength > TASK_SIZE) return held(-EINVAL);
  const shrunk = yield* doMunmapUnlock(mm, address + newLength, address + oldLength);
  return shrunk === 0 ? { result: address, isUnlocked: true } : held(shrunk);
});

/**
 * `mremap(address, oldLength, newLength, flags, newAddress)`: the new address, -EINVAL, -EFAULT, -ENOMEM,
 * or -EINTR if a fatal signal came. Takes mmap_sem for write.
 */
export const vmMremap = fn(
  function* vmMremap(
    mm: MmStruct,
    address: number,
    lengths: { readonly from: number; readonly to: number },
    options: MremapOptions = {},
  ) {
    const remap: Remap = {
      address: userWord('the address', address),
      oldLength: pageAlignWord(userWord('the old length', lengths.from)),
      newLength: pageAlignWord(userWord('the new length', lengths.to)),
      flags: userFlags('the flags', options.flags ?? 0),
      newAddress: userWord('the new address', options.newAddress ?? 0),
    };
    const error = checkParameters(remap);
    if (error !== 0) return error;
    if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
    const isFull = impliesNewAddress(remap) && mm.mapCount + 2 >= MAP_COUNT_MAX - 3;
    const wasLocked = ((vmaLookup(mm, remap.address)?.vmFlags ?? 0) & VM_LOCKED) !== 0;
    const outcome = isFull ? held(-ENOMEM) : yield* doMremap(mm, remap);
    const { result, isUnlocked } = outcome;
    if (!isUnlocked) yield* upWrite(mm.mmapSem);
    const growth = remap.newLength - remap.oldLength;
    // Locked memory is there at once; that it cannot be is no error.
    if (result >= 0 && wasLocked && growth > 0) {
      yield* mmPopulate(mm, result + remap.oldLength, growth, true);
    }
    return result;
  },
  { name: 'do_mremap' },
);

/**
 * Moving a mapping: a VMA at the new place, the entries of the page tables, then the old place.
 *
 * The new VMA is merged as any new mapping is. Memory that was never touched takes the offset of its new
 * address, so it fits there; what has pages keeps its offset, by which the reverse map finds them.
 */
import { ENOMEM } from '../base/errno.ts';
import { MREMAP_DONTUNMAP } from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { writeOnce } from '../kernel/field.ts';
import { running } from '../kernel/running.ts';
import { VM_LOCKED } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { unlinkAnonVmas } from './anon-vma.ts';
import { behaviourOf } from './behaviour.ts';
import { vmaLinkFile } from './file-mapping.ts';
import { movePageTables } from './move-page-tables.ts';
import type { Remap } from './mremap.ts';
import { doMunmap } from './munmap.ts';
import { vmAreaDup } from './vma-change.ts';
import { vmaMergeNewRange, vmaModifyFlags } from './vma-merge.ts';
import { MAP_COUNT_MAX, PAGE_SIZE, vmaLink } from './vma.ts';

/** The VMA at the new place, and the one that has the old place by then: they may have become one. */
interface Copied {
  readonly target: VmArea;
  readonly source: VmArea;
  /** See {@link PagetableMove}. A new VMA is behind its source in the trees of the reverse map. */
  readonly needsRmapLocks: boolean;
}

/**
 * `copy_vma`: a mapping of the same memory at [newAddress, newAddress + newLength), which is free; NULL
 * without memory. mmap_sem is held for write.
 */
const copyVma = fn(function* copyVma(vma: VmArea, remap: Remap) {
  const mm = vma.vmMm!;
  const { address, newAddress, newLength } = remap;
  const isUntouched = vma.vmFile === null && vma.anonVma === null;
  const pgoff = isUntouched
    ? newAddress / PAGE_SIZE
    : vma.vmPgoff + (address - vma.vmStart) / PAGE_SIZE;
  const range = { start: newAddress, end: newAddress + newLength, pgoff };
  const { vmFlags, vmFile, anonVma, vmStart } = vma;
  const merged = yield* vmaMergeNewRange(mm, {
    ...range,
    flags: vmFlags,
    file: vmFile,
    anonVma,
    source: vma,
  });
  if (merged !== null) {
    // The target may have been the bridge between the source and a neighbour.
    const isOne = merged.vmStart <= vmStart && vmStart < merged.vmEnd;
    const source = isOne ? merged : vma;
    const needsRmapLocks = merged.vmPgoff <= source.vmPgoff;
    return { target: merged, source, needsRmapLocks } satisfies Copied;
  }
  const target = yield* vmAreaDup(vma, range);
  if (target === null) return null;
  const open = target.vmOps?.open;
  if (open !== undefined) yield* open(target);
  vmaLink(mm, target);
  yield* vmaLinkFile(target);
  return { target, source: vma, needsRmapLocks: false } satisfies Copied;
});

/** MREMAP_DONTUNMAP: the old place stays mapped, and is empty. */
const dontunmapComplete = fn(function* dontunmapComplete(copied: Copied, remap: Remap) {
  const { target, source } = copied;
  const end = remap.address + remap.oldLength;
  const { dontunmapSplitsLocked, dontunmapResetsOffset } = behaviourOf(running);
  const isWhole = source.vmStart === remap.address && source.vmEnd === end;
  const unlocked = source.vmFlags & ~VM_LOCKED;
  if (dontunmapSplitsLocked && unlocked !== source.vmFlags) {
    const changed = yield* vmaModifyFlags(source, remap.address, end, unlocked);
    if (typeof changed !== 'number') yield* writeOnce(changed, 'vmFlags', unlocked);
  } else {
    yield* writeOnce(source, 'vmFlags', unlocked);
  }
  if (!isWhole || target === source) return;
  // No page is left that the reverse map would have to find here.
  yield* unlinkAnonVmas(source);
  if (dontunmapResetsOffset && source.vmFile === null) {
    source.vmPgoff = source.vmStart / PAGE_SIZE;
  }
});

/**
 * `move_vma`: moves [address, address + oldLength), a part of `vma`, to where there is room for it. Returns
 * the new address, or -ENOMEM with everything where it was. mmap_sem is held for write.
 */
export const moveVma = fn(function* moveVma(vma: VmArea, remap: Remap) {
  const mm = vma.vmMm!;
  const { address, oldLength, newAddress, newLength, flags } = remap;
  // Splitting the source at both ends, and the target.
  if (mm.mapCount >= MAP_COUNT_MAX - 3) return -ENOMEM;
  const copied = yield* copyVma(vma, remap);
  if (copied === null) return -ENOMEM;
  const { target, source, needsRmapLocks } = copied;
  const forth = { oldVma: source, oldAddress: address, newVma: target, newAddress };
  const moved = yield* movePageTables({ ...forth, length: oldLength, needsRmapLocks });
  if (moved < oldLength) {
    // Back to where the page tables still are; this time the new place comes first.
    const back = { oldVma: target, oldAddress: newAddress, newVma: source, newAddress: address };
    if (moved > 0) yield* movePageTables({ ...back, length: moved, needsRmapLocks: true });
    yield* doMunmap(mm, newAddress, newAddress + newLength);
    return -ENOMEM;
  }
  if ((flags & MREMAP_DONTUNMAP) !== 0) yield* dontunmapComplete(copied, remap);
  else if (oldLength > 0) yield* doMunmap(mm, address, address + oldLength);
  return newAddress;
});

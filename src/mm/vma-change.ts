/**
 * Changing the bounds of VMAs: what splitting and merging have in common.
 *
 * A reverse-map walk holds the lock of the file's or the anon_vma's tree, not mmap_sem, and must find each
 * page in exactly one VMA. So both locks are taken, everything whose bounds change leaves the trees, gets
 * its new bounds, and goes back in. Who shares an offset in the file's tree with it is before it from then
 * on, also if its own did not change (recordings).
 */
import { ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { fput, getFile } from '../kernel/open-file.ts';
import { downWrite, upWrite } from '../kernel/rwsem.ts';
import { rootOf } from '../mm-types/anon-vma.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { vmaTreeInsert, vmaTreeRemove } from '../mm-types/vma-tree.ts';
import {
  anonVmaClone,
  anonVmaTreesInsert,
  anonVmaTreesRemove,
  unlinkAnonVmas,
} from './anon-vma.ts';
import { vmaIntervalTreeInsert, vmaIntervalTreeRemove } from './file-mapping.ts';
import { splitHugePmdAddress } from './huge-memory.ts';
import { vmaLink, vmAreaAlloc, vmAreaFree } from './vma.ts';

const HPAGE_PMD_SIZE = 2 ** 21;

/** A VMA with new bounds. */
export interface NewBounds {
  readonly vma: VmArea;
  readonly start: number;
  readonly end: number;
}

export interface VmaChange {
  readonly main: NewBounds;
  /** A neighbour whose border with the main one moves. */
  readonly neighbour: NewBounds | null;
  /** A new VMA, with its bounds set, that takes what the main one gives up. */
  readonly insert: VmArea | null;
  /** VMAs that are taken in, and freed. */
  readonly remove: readonly VmArea[];
}

/** A change of one VMA alone. */
export function changeOf(vma: VmArea, start: number, end: number): VmaChange {
  return { main: { vma, start, end }, neighbour: null, insert: null, remove: [] };
}

/**
 * A huge page would have to be split where a VMA is to end: if the 2 MiB around `address` lie in it.
 * Nobody looks whether there is one before telling the notifiers (recordings).
 */
function needsHugeSplit(vma: VmArea, address: number): boolean {
  const block = address - (address % HPAGE_PMD_SIZE);
  return block !== address && block >= vma.vmStart && block + HPAGE_PMD_SIZE <= vma.vmEnd;
}

/** What has to be split where VMAs are to begin or end, judged by their present bounds. */
const splitHugeAtBorders = fn(
  function* splitHugeAtBorders(main: NewBounds, neighbour: NewBounds | null) {
    const { vma, start, end } = main;
    if (needsHugeSplit(vma, start)) yield* splitHugePmdAddress(vma, start);
    if (needsHugeSplit(vma, end)) yield* splitHugePmdAddress(vma, end);
    if (neighbour !== null && needsHugeSplit(neighbour.vma, end)) {
      yield* splitHugePmdAddress(neighbour.vma, end);
    }
  },
  { name: 'vma_adjust_trans_huge' },
);

/** New bounds; the offset follows the start. The node in the mm's tree is put in anew. */
function setRange(mm: MmStruct, { vma, start, end }: NewBounds): void {
  vmaTreeRemove(mm.mmRb, vma.node);
  vma.vmPgoff += (start - vma.vmStart) / PAGE_SIZE;
  vma.vmStart = start;
  vma.vmEnd = end;
  vmaTreeInsert(mm.mmRb, vma.node, start, end);
}

/** Applies a change. mmap_sem is held for write. May sleep. */
export const changeVmas = fn(function* changeVmas(mm: MmStruct, change: VmaChange) {
  const { main, neighbour, insert, remove } = change;
  const { mapping } = main.vma;
  const anonVma = main.vma.anonVma ?? neighbour?.vma.anonVma ?? null;
  if (mapping !== null) {
    yield* downWrite(mapping.iMmapRwsem);
    if (insert !== null) vmaIntervalTreeInsert(insert, mapping);
  }
  if (anonVma !== null) {
    yield* downWrite(rootOf(anonVma).rwsem);
    anonVmaTreesRemove(main.vma);
    if (neighbour !== null) anonVmaTreesRemove(neighbour.vma);
  }
  if (mapping !== null) {
    vmaIntervalTreeRemove(main.vma, mapping);
    if (neighbour !== null) vmaIntervalTreeRemove(neighbour.vma, mapping);
  }
  yield* splitHugeAtBorders(main, neighbour);
  for (const vma of remove) {
    vmaTreeRemove(mm.mmRb, vma.node);
    mm.mapCount -= 1;
  }
  setBounds(mm, main, neighbour);
  if (insert !== null) vmaLink(mm, insert);
  if (mapping !== null) {
    if (neighbour !== null) vmaIntervalTreeInsert(neighbour.vma, mapping);
    vmaIntervalTreeInsert(main.vma, mapping);
    for (const vma of remove) vmaIntervalTreeRemove(vma, mapping);
  }
  if (anonVma !== null) {
    anonVmaTreesInsert(main.vma);
    if (neighbour !== null) anonVmaTreesInsert(neighbour.vma);
    yield* upWrite(rootOf(anonVma).rwsem);
  }
  if (mapping !== null) yield* upWrite(mapping.iMmapRwsem);
  for (const vma of remove) {
    if (vma.vmFile !== null) yield* fput(vma.vmFile);
    yield* unlinkAnonVmas(vma);
    yield* vmAreaFree(vma);
  }
});

/** The one that shrinks first, so that no two overlap in the tree. */
function setBounds(mm: MmStruct, main: NewBounds, neighbour: NewBounds | null): void {
  const isMainShrinking = main.end - main.start < main.vma.vmEnd - main.vma.vmStart;
  if (neighbour !== null && !isMainShrinking) setRange(mm, neighbour);
  setRange(mm, main);
  if (neighbour !== null && isMainShrinking) setRange(mm, neighbour);
}

/** A copy of a VMA for [start, end), not linked, with links and a file reference, or -ENOMEM. */
export const vmAreaDup = fn(function* vmAreaDup(
  vma: VmArea,
  range: { readonly start: number; readonly end: number; readonly pgoff: number },
) {
  const copy = yield* vmAreaAlloc(vma.vmMm!, range.start, range.end);
  if (copy === null) return null;
  copy.vmPgoff = range.pgoff;
  copy.vmFlags = vma.vmFlags;
  copy.vmFile = vma.vmFile;
  copy.mapping = vma.mapping;
  copy.anonVma = vma.anonVma;
  copy.vmOps = vma.vmOps;
  copy.vmPrivateData = vma.vmPrivateData;
  if (vma.anonVma !== null && (yield* anonVmaClone(copy, vma)) !== 0) {
    yield* vmAreaFree(copy);
    return null;
  }
  if (copy.vmFile !== null) yield* getFile(copy.vmFile);
  return copy;
});

/**
 * `__split_vma(vma, address, new_below)`: cuts a VMA in two. `vma` keeps the upper part if `isNewBelow`,
 * else the lower one. Returns 0, or -ENOMEM with nothing changed. mmap_sem is held for write.
 */
export const splitVma = fn(
  function* splitVma(vma: VmArea, address: number, isNewBelow: boolean) {
    const { vmStart, vmEnd, vmPgoff } = vma;
    const range = isNewBelow
      ? { start: vmStart, end: address, pgoff: vmPgoff }
      : { start: address, end: vmEnd, pgoff: vmPgoff + (address - vmStart) / PAGE_SIZE };
    const insert = yield* vmAreaDup(vma, range);
    if (insert === null) return -ENOMEM;
    const open = insert.vmOps?.open;
    if (open !== undefined) yield* open(insert);
    const main = isNewBelow
      ? { vma, start: address, end: vmEnd }
      : { vma, start: vmStart, end: address };
    yield* changeVmas(vma.vmMm!, { main, neighbour: null, insert, remove: [] });
    return 0;
  },
  { name: '__split_vma' },
);

/**
 * munmap, and taking mappings away for those that replace or move some.
 *
 * VMAs that lie partly in the range are split first; what is left of them in the range can no longer be
 * found; then the pages go (one notification for the whole range, holes included), then the page tables
 * that nobody else could use, then the VMAs.
 */
import { EINTR, EINVAL, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { listEmpty } from '../kernel/list.ts';
import { fput } from '../kernel/open-file.ts';
import { running } from '../kernel/running.ts';
import { downgradeWrite, downWriteKillable, upRead, upWrite } from '../kernel/rwsem.ts';
import { kfree } from '../kernel/slab.ts';
import { TASK_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { VM_MIXEDMAP, VM_PFNMAP } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { unlinkAnonVmas } from './anon-vma.ts';
import { behaviourOf } from './behaviour.ts';
import { unlinkFileVma } from './file-mapping.ts';
import { tlbFinishMmu, tlbFlushTlbOnly, tlbGatherMmu } from './mmu-gather.ts';
import { pageAlignWord, userWord } from './user-word.ts';
import { splitVma } from './vma-change.ts';
import {
  findVmaBelow,
  findVmaIntersection,
  MAP_COUNT_MAX,
  PAGE_SIZE,
  vmaNext,
  vmaUnlink,
} from './vma.ts';
import { freePgtables, unmapVmas } from './zap.ts';

/** VMAs that can no longer be found, and the free space around them, for freeing page tables. */
interface Detached {
  readonly start: number;
  readonly end: number;
  readonly vmas: readonly VmArea[];
  readonly floor: number;
  readonly ceiling: number;
}

/** Splits at both ends of the range. Returns 0 or -ENOMEM. */
const splitAtEnds = fn(
  function* splitAtEnds(mm: MmStruct, first: VmArea, start: number, end: number) {
    if (first.vmStart < start) {
      // The only case with more VMAs afterwards than before.
      if (end < first.vmEnd && mm.mapCount >= MAP_COUNT_MAX) return -ENOMEM;
      const error = yield* splitVma(first, start, true);
      if (error !== 0) return error;
    }
    const last = findVmaBelow(mm, end)!;
    return last.vmEnd > end ? yield* splitVma(last, end, false) : 0;
  },
  { name: 'vms_gather_munmap_vmas' },
);

/** Takes the VMAs of the range, which nothing crosses, out of the mm. */
function detach(mm: MmStruct, start: number, end: number): Detached {
  const before = findVmaBelow(mm, start);
  const found: VmArea[] = [];
  let vma = findVmaIntersection(mm, start, end);
  while (vma !== null && vma.vmStart < end) {
    found.push(vma);
    vma = vmaNext(vma);
  }
  for (const each of found) vmaUnlink(mm, each);
  return {
    start,
    end,
    vmas: found,
    floor: before === null ? 0 : before.vmEnd,
    ceiling: vma === null ? 0 : vma.vmStart,
  };
}

/** Takes the pages out, and the page tables. mmap_sem is held, for reading or writing. */
export const unmapRegion = fn(
  function* unmapRegion(mm: MmStruct, detached: Detached) {
    const { vmas, start, end, floor, ceiling } = detached;
    const tlb = yield* tlbGatherMmu(mm);
    yield* unmapVmas(tlb, vmas, start, end);
    // Nobody counts who maps these frames: a driver that finds no mapping takes them for its own.
    const isMapped = vmas.some(({ vmFlags }) => (vmFlags & (VM_PFNMAP | VM_MIXEDMAP)) !== 0);
    if (isMapped && behaviourOf(running).pfnmapFlushesBeforeUnlink) yield* tlbFlushTlbOnly(tlb);
    // Truncation and reclaim must not come by once the page tables are being freed.
    for (const vma of vmas) {
      if (!listEmpty(vma.anonVmaChain)) yield* unlinkAnonVmas(vma);
      if (vma.mapping !== null) yield* unlinkFileVma(vma);
    }
    yield* freePgtables(tlb, vmas, floor, ceiling);
    yield* tlbFinishMmu(tlb);
  },
  { name: 'vms_clear_ptes' },
);

/** Frees VMAs of which nothing is left. */
export const removeVmas = fn(
  function* removeVmas(vmas: readonly VmArea[]) {
    for (const vma of vmas) {
      const close = vma.vmOps?.close;
      if (close !== undefined) yield* close(vma);
      if (vma.vmFile !== null) yield* fput(vma.vmFile);
      yield* kfree(vma);
    }
  },
  { name: 'remove_vma' },
);

/**
 * `do_munmap(mm, start, length)` for callers that go on holding mmap_sem for write: mmap over something,
 * mremap, brk. Nothing is there: nothing happens, and nobody is told. Returns 0 or -ENOMEM. [start, end) is
 * page aligned and not empty.
 */
export const doMunmap = fn(function* doMunmap(mm: MmStruct, start: number, end: number) {
  const first = findVmaIntersection(mm, start, end);
  if (first === null) return 0;
  const error = yield* splitAtEnds(mm, first, start, end);
  if (error !== 0) return error;
  const detached = detach(mm, start, end);
  yield* unmapRegion(mm, detached);
  yield* removeVmas(detached.vmas);
  return 0;
});

/**
 * As {@link doMunmap}, for callers for which it is the last: unless it fails it gives up mmap_sem, which it
 * turns into a reader's once the VMAs cannot be found any more.
 */
export const doMunmapUnlock = fn(
  function* doMunmapUnlock(mm: MmStruct, start: number, end: number) {
    const first = findVmaIntersection(mm, start, end);
    if (first === null) {
      yield* upWrite(mm.mmapSem);
      return 0;
    }
    const error = yield* splitAtEnds(mm, first, start, end);
    if (error !== 0) return error;
    const detached = detach(mm, start, end);
    const { munmapDowngrades } = behaviourOf(running);
    if (munmapDowngrades) yield* downgradeWrite(mm.mmapSem);
    yield* unmapRegion(mm, detached);
    yield* removeVmas(detached.vmas);
    yield* munmapDowngrades ? upRead(mm.mmapSem) : upWrite(mm.mmapSem);
    return 0;
  },
  { name: 'do_vmi_munmap' },
);

/**
 * Unmaps [start, start + length). Returns 0, -EINVAL, -ENOMEM, or -EINTR if a fatal signal came. Takes
 * mmap_sem for write; once the mappings cannot be found any more it goes on as a reader.
 *
 * @kernel __vm_munmap
 */
export const vmMunmap = fn(
  function* vmMunmap(mm: MmStruct, start: number, length: number) {
    const from = userWord('the address', start);
    const bytes = userWord('the length', length);
    const size = pageAlignWord(bytes);
    const isBeyond = from > TASK_SIZE || bytes > TASK_SIZE - from;
    if (from % PAGE_SIZE !== 0 || isBeyond || size === 0) return -EINVAL;
    if ((yield* downWriteKillable(mm.mmapSem)) !== 0) return -EINTR;
    const error = yield* doMunmapUnlock(mm, from, from + size);
    if (error !== 0) yield* upWrite(mm.mmapSem);
    return error;
  },
  { name: '__vm_munmap' },
);

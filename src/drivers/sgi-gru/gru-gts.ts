/**
 * The life of a GTS: made by the ioctl that sets a segment's options, found through its mapping, dropped by the end
 * of the mapping or by the unloading of its context, whichever is last.
 */
import { ENOMEM } from '../../base/errno.ts';
import { atomicDecReturn } from '../../kernel/atomic.ts';
import { errPtr, isErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAdd, listForEachEntry } from '../../kernel/list.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import {
  globals,
  GRU_GSEG_PAGESIZE,
  GruThreadState,
  GruVmaData,
  sgiGru,
  type GmsLife,
  type GruThreadState as Gts,
  type GruVmaData as VmaData,
} from './gru-priv.ts';

const { fn } = sgiGru;

/** Which segment of its mapping an address is in. */
export function tsidOf(vaddr: number, vma: VmArea): number {
  return Math.floor((vaddr - vma.vmStart) / GRU_GSEG_PAGESIZE) + vma.vmPgoff;
}

/** Where a segment is in its process. */
export function ugruAddr({ tsVma, tsTsid }: Gts): number {
  return tsVma!.vmStart + (tsTsid - tsVma!.vmPgoff) * GRU_GSEG_PAGESIZE;
}

/** One reference less; the last drops the GMS, too. In v5.3 that may sleep. */
export const gtsDrop = fn(function* gtsDrop(gts: Gts) {
  if ((yield* atomicDecReturn(gts.tsRefcnt)) !== 0) return;
  if (gts.tsGms !== null) yield* (globals().life as GmsLife).drop(gts.tsGms);
  yield* kfree(gts);
});

/** vd_lock is held. */
function findNolock(vdata: VmaData, tsid: number): Gts | null {
  for (const gts of listForEachEntry(vdata.vdHead, GruThreadState, 'tsNext')) {
    if (gts.tsTsid === tsid) return gts;
  }
  return null;
}

/** A GTS with one reference that nobody can find yet; or ERR_PTR. mmap_sem is held for write. May sleep. */
const gruAllocGts = fn(function* gruAllocGts(
  vma: VmArea,
  tsid: number,
  mayOnlyFind?: true,
): Body<Gts | ErrPtr> {
  const gts = yield* kzalloc(GruThreadState, GFP_KERNEL);
  if (gts === null) return errPtr(-ENOMEM);
  gts.tsTsid = tsid;
  gts.tsUserOptions = (vma.vmPrivateData as VmaData).vdUserOptions;
  gts.tsMm = current().mm as MmStruct;
  gts.tsVma = vma;
  const gms = yield* (globals().life as GmsLife).register(mayOnlyFind);
  if (!isErr(gms)) {
    gts.tsGms = gms;
    return gts;
  }
  yield* gtsDrop(gts);
  return gms;
});

/** What is kept of a mapping, or NULL. May sleep. */
export const gruAllocVmaData = fn(function* gruAllocVmaData() {
  return yield* kzalloc(GruVmaData, GFP_KERNEL);
});

/** The GTS of a segment, or NULL. mmap_sem is held, which keeps the mapping's reference. */
export const gruFindThreadState = fn(function* gruFindThreadState(vma: VmArea, tsid: number) {
  const vdata = vma.vmPrivateData as VmaData;
  yield* spinLock(vdata.vdLock);
  const gts = findNolock(vdata, tsid);
  yield* spinUnlock(vdata.vdLock);
  return gts;
});

/** The GTS of a segment, a new one unless somebody else was first; or ERR_PTR. mmap_sem is held for write. */
export const gruAllocThreadState = fn(function* gruAllocThreadState(
  vma: VmArea,
  tsid: number,
  mayOnlyFind?: true,
): Body<Gts | ErrPtr> {
  const fresh = yield* gruAllocGts(vma, tsid, mayOnlyFind);
  if (isErr(fresh)) return fresh;
  const vdata = vma.vmPrivateData as VmaData;
  yield* spinLock(vdata.vdLock);
  const there = findNolock(vdata, tsid);
  if (there !== null) yield* gtsDrop(fresh);
  else listAdd(fresh.tsNext, vdata.vdHead);
  yield* spinUnlock(vdata.vdLock);
  return there ?? fresh;
});

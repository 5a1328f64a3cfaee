/** What a process takes of the hardware besides queues: PASID, doorbells, apertures, the trap handler. */
import { ENOMEM } from '../../base/errno.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAddTail, listDel, listForEachSafe } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { vmMmap } from '../../mm/mmap.ts';
import { amdkfd, globals, KFD_ID_COUNT, KfdProcessDevice, type KfdProcess } from './kfd-priv.ts';

const { fn } = amdkfd;

/** Bytes of the trap handler that is mapped into the process for context save and restore. */
const KFD_CWSR_TBA_TMA_SIZE = 8192;

/** The lowest bit that is free, or 0 if there is none. */
function freeBit(bitmap: number): number {
  for (let bit = 1; bit < KFD_ID_COUNT; bit += 1) {
    if ((bitmap & (1 << bit)) === 0) return bit;
  }
  return 0;
}

/** A PASID, or 0 if none is left. May sleep. */
export const kfdPasidAlloc = fn(function* kfdPasidAlloc() {
  const kfd = globals();
  yield* mutexLock(kfd.kfdIdsMutex);
  const pasid = freeBit(kfd.pasidBitmap);
  kfd.pasidBitmap |= 1 << pasid;
  yield* mutexUnlock(kfd.kfdIdsMutex);
  return pasid;
});

/** Gives a PASID back. May sleep. */
export const kfdPasidFree = fn(function* kfdPasidFree(pasid: number) {
  const kfd = globals();
  yield* mutexLock(kfd.kfdIdsMutex);
  kfd.pasidBitmap &= ~(1 << pasid);
  yield* mutexUnlock(kfd.kfdIdsMutex);
});

/** Gives the process a page of doorbells. Returns 0 or -ENOMEM. May sleep. */
export const kfdAllocProcessDoorbells = fn(function* kfdAllocProcessDoorbells(p: KfdProcess) {
  const kfd = globals();
  yield* mutexLock(kfd.kfdIdsMutex);
  p.doorbellIndex = freeBit(kfd.doorbellBitmap);
  kfd.doorbellBitmap |= 1 << p.doorbellIndex;
  yield* mutexUnlock(kfd.kfdIdsMutex);
  return p.doorbellIndex === 0 ? -ENOMEM : 0;
});

/** Gives them back, if the process has any. May sleep. */
export const kfdFreeProcessDoorbells = fn(function* kfdFreeProcessDoorbells(p: KfdProcess) {
  if (p.doorbellIndex === 0) return;
  const kfd = globals();
  yield* mutexLock(kfd.kfdIdsMutex);
  kfd.doorbellBitmap &= ~(1 << p.doorbellIndex);
  yield* mutexUnlock(kfd.kfdIdsMutex);
});

/** Makes the per-device data. Returns 0 or -ENOMEM; what was made stays on the list. May sleep. */
export const kfdInitApertures = fn(function* kfdInitApertures(p: KfdProcess) {
  const pdd = yield* kzalloc(KfdProcessDevice, GFP_KERNEL);
  if (pdd === null) return -ENOMEM;
  listAddTail(pdd.perDeviceList, p.perDeviceData);
  return 0;
});

/** Frees the per-device data. Its queues are gone. */
export const kfdProcessDestroyPdds = fn(function* kfdProcessDestroyPdds(p: KfdProcess) {
  for (const node of listForEachSafe(p.perDeviceData)) {
    listDel(node);
    yield* kfree(containerOf(node, KfdProcessDevice, 'perDeviceList'));
  }
});

/** Frees buffer objects that the program left behind. Its queues are gone. */
export const kfdProcessFreeOutstandingKfdBos = fn(function* kfdProcessFreeOutstandingKfdBos(
  p: KfdProcess,
) {
  for (const node of listForEachSafe(p.perDeviceData)) {
    containerOf(node, KfdProcessDevice, 'perDeviceList').allocCount = 0;
  }
});

/**
 * Maps the trap handler into the process (APUs). Cannot be undone. Returns 0 or -errno. Takes
 * mmap_sem. May sleep.
 */
export const kfdProcessInitCwsrApu = fn(function* kfdProcessInitCwsrApu(mm: MmStruct) {
  const address = yield* vmMmap(mm, 0, KFD_CWSR_TBA_TMA_SIZE);
  return address < 0 ? address : 0;
});

/**
 * TLB misses: a miss is told by an interrupt, or, where that cannot answer it, by the program, which calls the OS.
 *
 *   chiplet       interrupt handler                       program
 *   a miss  ----> mmap_sem? trylock
 *                 is the page there? drop it in
 *                 otherwise: user polling mode  --------> finds that in its CB
 *                                                         ioctl: waits until nothing is invalidated,
 *                                                           brings the page, drops it in
 *
 * No reference to the page is taken: that the entry goes in time is the notifier's affair. Between looking for the
 * page and the drop-in anything may happen to it; the chiplet ignores a drop-in that an invalidation has overtaken
 * since the TFH was read.
 */
import { EAGAIN, EFAULT, EINVAL } from '../../base/errno.ts';
import { atomicRead } from '../../kernel/atomic.ts';
import { isErr, errPtr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import {
  downgradeWrite,
  downRead,
  downReadTrylock,
  downWrite,
  upRead,
  upWrite,
} from '../../kernel/rwsem.ts';
import { waitEvent } from '../../kernel/wait.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import {
  PTE_DIRTY,
  ptepGet,
  ptePfn,
  ptePresent,
  pteWrite,
  tableOffset,
} from '../../mm-types/page-table.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { pteIndex } from '../../mm/page-table-walk.ts';
import { findVma, vmaLookup } from '../../mm/vma.ts';
import { mmuNotifierMmOf } from '../../mmu-notifier/mmu-notifier.ts';
import { takeFaultMap, tfhWriteRestart, type GruChiplet } from './gru-chiplet.ts';
import { tfhException, tfhRead, tfhUserPollingMode, type TfhMiss } from './gru-context.ts';
import { gruAllocThreadState, gruFindThreadState, tsidOf } from './gru-gts.ts';
import { contextOf, gruCheckContextPlacement, gruUnloadContext } from './gru-main.ts';
import {
  globals,
  GRU_GSEG_PAGESIZE,
  gtsOf,
  sgiGru,
  type GruState,
  type GruThreadState,
} from './gru-priv.ts';
import { gruVmOps } from './gru-vm-ops.ts';

const { fn } = sgiGru;

/** Answers of a drop-in: an invalidation is going on; the program is to try. */
const AGAIN = 1;

// ---- finding a segment ---------------------------------------------------------------------------

/** The mapping of /dev/gru that an address is in, or NULL. mmap_sem is held. */
function gruFindVma(mm: MmStruct, vaddr: number): VmArea | null {
  const vma = vmaLookup(mm, vaddr);
  return vma !== null && vma.vmOps === gruVmOps ? vma : null;
}

/** The GTS of an address, with mmap_sem held for read and ts_ctxlock; or NULL, with neither. May sleep. */
export const gruFindLockGts = fn(function* gruFindLockGts(vaddr: number) {
  const mm = current().mm as MmStruct;
  yield* downRead(mm.mmapSem);
  const vma = gruFindVma(mm, vaddr);
  const gts = vma === null ? null : yield* gruFindThreadState(vma, tsidOf(vaddr, vma));
  if (gts === null) yield* upRead(mm.mmapSem);
  else yield* mutexLock(gts.tsCtxlock);
  return gts;
});

/** The same, and the GTS is made if there is none; or ERR_PTR(-EINVAL, -ENOMEM, …), with neither. May sleep. */
export const gruAllocLockedGts = fn(function* gruAllocLockedGts(
  vaddr: number,
): Body<GruThreadState | ErrPtr> {
  const mm = current().mm as MmStruct;
  // Where nobody was ever registered, nobody can be found either.
  if (globals().life!.allocatesUnder === 'read' && mmuNotifierMmOf(mm) !== null) {
    const found = yield* allocUnderRead(mm, vaddr);
    if (!isErr(found) || ptrErr(found) !== -EAGAIN) return found;
  }
  yield* downWrite(mm.mmapSem);
  const vma = gruFindVma(mm, vaddr);
  const gts = vma === null ? NO_SEGMENT : yield* gruAllocThreadState(vma, tsidOf(vaddr, vma));
  if (isErr(gts)) {
    yield* upWrite(mm.mmapSem);
    return gts;
  }
  yield* mutexLock(gts.tsCtxlock);
  yield* downgradeWrite(mm.mmapSem);
  return gts;
});

const NO_SEGMENT: GruThreadState | ErrPtr = errPtr(-EINVAL);

/** As it must not be done: with mmap_sem held for reading. */
const allocUnderRead = fn(
  function* allocUnderRead(mm: MmStruct, vaddr: number): Body<GruThreadState | ErrPtr> {
    yield* downRead(mm.mmapSem);
    const vma = gruFindVma(mm, vaddr);
    const gts =
      vma === null ? NO_SEGMENT : yield* gruAllocThreadState(vma, tsidOf(vaddr, vma), true);
    if (isErr(gts)) yield* upRead(mm.mmapSem);
    else yield* mutexLock(gts.tsCtxlock);
    return gts;
  },
  { name: 'gru_alloc_locked_gts' },
);

/** Ends what either of them has begun. */
export const gruUnlockGts = fn(function* gruUnlockGts(gts: GruThreadState) {
  yield* mutexUnlock(gts.tsCtxlock);
  yield* upRead((current().mm as MmStruct).mmapSem);
});

// ---- translating ---------------------------------------------------------------------------------

interface Translation {
  readonly pfn: number;
}

/** What the page table says, without a fault and without a lock; NULL if that is not enough. */
const atomicPteLookup = fn(function* atomicPteLookup(mm: MmStruct, miss: TfhMiss) {
  const table = yield* tableOffset(mm.pageTables, miss.vaddr, 1);
  if (table === null) return null;
  const pte = yield* ptepGet(table, pteIndex(miss.vaddr));
  if (!ptePresent(pte)) return null;
  // The GRU sets no dirty bit.
  if (miss.isWrite && (!pteWrite(pte) || (pte & PTE_DIRTY) === 0)) return null;
  return { pfn: ptePfn(pte) };
});

/** With a fault, if need be. The reference is dropped again: the notifier keeps the entry right. May sleep. */
const nonAtomicPteLookup = fn(function* nonAtomicPteLookup(mm: MmStruct, miss: TfhMiss) {
  const start = miss.vaddr - (miss.vaddr % GRU_GSEG_PAGESIZE);
  const pages = yield* getUserPages(mm, start, 1, miss.isWrite);
  if (typeof pages === 'number') return -EFAULT;
  const [page] = pages;
  if (page === undefined) return -EFAULT;
  const pfn = pageToPfn(page);
  yield* putUserPage(page);
  return { pfn };
});

/** The frame of a miss; -EFAULT if there is none; or AGAIN, for who may not sleep. mmap_sem is held for read. */
const gruVtop = fn(function* gruVtop(
  mm: MmStruct,
  miss: TfhMiss,
  isAtomic: boolean,
): Body<Translation | number> {
  if (findVma(mm, miss.vaddr) === null) return -EFAULT;
  const quick = yield* atomicPteLookup(mm, miss);
  if (quick !== null) return quick;
  return isAtomic ? AGAIN : yield* nonAtomicPteLookup(mm, miss);
});

// ---- dropping in ---------------------------------------------------------------------------------

/**
 * Answers the miss of a context: 0, also if there is none (any more); AGAIN if it must wait; -EFAULT, -EAGAIN.
 * mmap_sem is held for read; the context stays loaded, by ts_ctxlock or since it waits for its interrupt. Sleeps
 * only for a program.
 */
const gruTryDropin = fn(function* gruTryDropin(
  gru: GruState,
  gts: GruThreadState,
  isProgram: boolean,
): Body<number> {
  const cch = contextOf(gts);
  const { run, miss } = yield* tfhRead(cch);
  if (miss === null || run === 'idle') return 0;
  // The interrupt has not been handled yet; it will be.
  if (run === 'miss-fmm' && isProgram) return 0;
  if (miss.asid === 0) {
    if (!isProgram) yield* tfhUserPollingMode(cch);
    return -EAGAIN;
  }
  // The TFH was read before this: an invalidation that is over by now has come before the page is looked for, one
  // that comes from now on is noticed by the chiplet.
  if ((yield* atomicRead(gts.tsGms!.msRangeActive)) > 0) {
    if (!isProgram) yield* tfhUserPollingMode(cch);
    return AGAIN;
  }
  const found = yield* gruVtop(gts.tsMm as MmStruct, miss, !isProgram);
  if (found === AGAIN) {
    yield* tfhUserPollingMode(cch);
    return AGAIN;
  }
  if (typeof found === 'number') {
    yield* tfhException(cch);
    return found;
  }
  yield* tfhWriteRestart(gru.gsChiplet as GruChiplet, {
    context: cch,
    pfn: found.pfn,
    isWritable: miss.isWrite,
  });
  return 0;
});

/** The handler of a chiplet's interrupt. */
export const gruIntr = fn(function* gruIntr(_irq: number, gru: GruState) {
  const bits = yield* takeFaultMap(gru.gsChiplet as GruChiplet);
  for (let ctxnum = 0; bits >>> ctxnum !== 0; ctxnum += 1) {
    if ((bits & (1 << ctxnum)) === 0) continue;
    // It cannot be unloaded: the context waits for what follows.
    const gts = gtsOf(gru, ctxnum);
    if (gts === null) continue;
    const mm = gts.tsMm as MmStruct;
    if (yield* downReadTrylock(mm.mmapSem)) {
      yield* gruTryDropin(gru, gts, false);
      yield* upRead(mm.mmapSem);
    } else {
      yield* tfhUserPollingMode(contextOf(gts));
    }
  }
});

/** Tries until nothing is invalidated meanwhile. ts_ctxlock and mmap_sem (for read) are held. Sleeps. */
const gruUserDropin = fn(function* gruUserDropin(gts: GruThreadState) {
  const gms = gts.tsGms!;
  for (;;) {
    yield* waitEvent(gms.msWaitQueue, function* isInactive() {
      return (yield* atomicRead(gms.msRangeActive)) === 0;
    });
    const result = yield* gruTryDropin(gts.tsGru!, gts, true);
    if (result <= 0) return result;
  }
});

/**
 * The program has found in its CB that it is to call the OS. `cb` is the address of its segment. 0 when the
 * instruction goes on; -EINVAL if there is no such segment; -EAGAIN if it is not loaded; -EFAULT if the instruction
 * ends with an error. Sleeps.
 */
export const gruHandleUserCallOs = fn(function* gruHandleUserCallOs(cb: number) {
  if (cb % GRU_GSEG_PAGESIZE !== 0) return -EINVAL;
  const gts = yield* gruFindLockGts(cb);
  if (gts === null) return -EINVAL;
  if (yield* gruCheckContextPlacement(gts)) {
    yield* gruUnlockGts(gts);
    yield* gruUnloadContext(gts, true);
    return -EAGAIN;
  }
  const result = gts.tsGru === null ? -EAGAIN : yield* gruUserDropin(gts);
  yield* gruUnlockGts(gts);
  return result;
});

/**
 * Contexts of the hardware: who gets which, loading, unloading, theft; and the fault that a program takes when it
 * touches a segment that is not loaded.
 *
 *   program                     driver
 *   touches its segment
 *     page fault
 *                               gru_fault: a free context, or a stolen one
 *                                 an ASID for the mm, the CB as it was saved
 *                                 maps the context's page
 *   goes on
 *
 * Theft takes a context from a GTS whose ts_ctxlock is free, without that process's mmap_sem: it zaps the page-table
 * entry of a mapping that may be going away.
 */
import { bugOn } from '../../kernel/assertion.ts';
import { atomicInc } from '../../kernel/atomic.ts';
import { mutexLock, mutexTrylock, mutexUnlock, Mutex } from '../../kernel/mutex.ts';
import { preemptDisable, preemptEnable } from '../../kernel/preempt.ts';
import { made, Operation } from '../../kernel/operation.ts';
import { running } from '../../kernel/running.ts';
import { downWriteTrylock, upWrite, type RwSemaphore } from '../../kernel/rwsem.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import type { Task } from '../../kernel/task.ts';
import { currentThread } from '../../mm-types/task-struct.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import { loadByte, storeByte } from '../../mm-types/page-contents.ts';
import { pageToPfn, type Page } from '../../mm-types/page.ts';
import { remapPfnRange, zapVmaPtes } from '../../mm/pfn-map.ts';
import { VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_SIGBUS } from '../../mm/vm-fault.ts';
import { gruLoadMmTracker, gruUnloadMmTracker } from './gru-asid.ts';
import type { GruChiplet } from './gru-chiplet.ts';
import {
  cchAllocate,
  cchDeallocate,
  cchInterruptSync,
  cchStart,
  type GruContext,
} from './gru-context.ts';
import { gruFindThreadState, gtsDrop, tsidOf, ugruAddr } from './gru-gts.ts';
import {
  allGrus,
  globals,
  GRU_GSEG_PAGESIZE,
  GRU_OPT_MISS_FMM_INTR,
  gtsOf,
  NULLCTX,
  sgiGru,
  type GruState,
  type GruThreadState,
} from './gru-priv.ts';

const { fn } = sgiGru;

/** The hardware of the context that a GTS has. */
export function contextOf(gts: GruThreadState): GruContext {
  return (gts.tsGru!.gsChiplet as GruChiplet).contexts.get(gts.tsCtxnum);
}

function contextCountOf(gru: GruState): number {
  return (gru.gsChiplet as GruChiplet).contextCount;
}

/** Gives the context back, and its reference to the GTS. ts_ctxlock is held. */
const gruFreeGruContext = fn(function* gruFreeGruContext(gts: GruThreadState) {
  const gru = gts.tsGru!;
  const bit = 1 << gts.tsCtxnum;
  yield* spinLock(gru.gsLock);
  gru.gsGts.get(gts.tsCtxnum).gts = null;
  bugOn((gru.gsContextMap & bit) === 0, '!test_bit(gts->ts_ctxnum, &gru->gs_context_map)');
  gru.gsContextMap &= ~bit;
  gts.tsCtxnum = NULLCTX;
  gts.tsGru = null;
  yield* spinUnlock(gru.gsLock);
  yield* gtsDrop(gts);
});

/**
 * Takes a GTS out of the hardware: first from its process, then from the chiplet. With `savesState` its CB is kept
 * for the next time. The context's reference is dropped, so the caller has one of its own, or does not use the GTS
 * afterwards. ts_ctxlock is held. May sleep.
 */
export const gruUnloadContext = fn(function* gruUnloadContext(
  gts: GruThreadState,
  savesState: boolean,
) {
  const gru = gts.tsGru!;
  const cch = contextOf(gts);
  // NULL only where the end of a mapping leaves contexts loaded.
  if (gts.tsVma !== null) yield* zapVmaPtes(gts.tsVma, ugruAddr(gts), GRU_GSEG_PAGESIZE);
  yield* cchInterruptSync(cch);
  yield* gruUnloadMmTracker(gru, gts);
  const { contents } = cch.page as Page;
  if (savesState) gts.tsGdata = yield* loadByte(contents, 0);
  yield* storeByte(contents, 0, 0);
  yield* cchDeallocate(cch);
  yield* gruFreeGruContext(gts);
});

/** Loads a GTS into the context that it was assigned. ts_ctxlock is held. */
const gruLoadContext = fn(function* gruLoadContext(gts: GruThreadState) {
  const cch = contextOf(gts);
  const asid = yield* gruLoadMmTracker(gts.tsGru!, gts);
  const interrupts = gts.tsUserOptions === GRU_OPT_MISS_FMM_INTR;
  yield* cchAllocate(cch, { asid, interrupts });
  yield* storeByte((cch.page as Page).contents, 0, gts.tsGdata);
  gts.tsGdata = 0;
  yield* cchStart(cch);
});

/** Takes a free context for the GTS, with a reference. ts_ctxlock is held. Whether there was one. */
const gruAssignGruContext = fn(function* gruAssignGruContext(gts: GruThreadState) {
  for (const gru of allGrus()) {
    if (gts.tsUserChipletId >= 0 && gts.tsUserChipletId !== gru.gsGid) continue;
    yield* spinLock(gru.gsLock);
    let ctxnum = 0;
    while (ctxnum < contextCountOf(gru) && (gru.gsContextMap & (1 << ctxnum)) !== 0) ctxnum += 1;
    const isFree = ctxnum < contextCountOf(gru);
    if (isFree) {
      gts.tsGru = gru;
      gts.tsCtxnum = ctxnum;
      yield* atomicInc(gts.tsRefcnt);
      gru.gsGts.get(ctxnum).gts = gts;
      gru.gsContextMap |= 1 << ctxnum;
    }
    yield* spinUnlock(gru.gsLock);
    if (isFree) return true;
  }
  return false;
});

/** Whether the program, as its owner, wants a loaded GTS on another chiplet. ts_ctxlock is held. */
function isMisplaced(gts: GruThreadState): boolean {
  const { tsGru, tsUserChipletId, tsTgidOwner } = gts;
  if (tsGru === null || tsUserChipletId < 0 || tsTgidOwner !== currentThread()!.pid) return false;
  return tsGru.gsGid !== tsUserChipletId;
}

/**
 * Unloads a GTS that is on the wrong chiplet, with the locks held as they are. True where the version leaves that to the
 * caller, who drops them first. ts_ctxlock is held. May sleep.
 */
export const gruCheckContextPlacement = fn(function* gruCheckContextPlacement(gts: GruThreadState) {
  if (!isMisplaced(gts)) return false;
  if (globals().life!.misplacedUnloads === 'unlocked') return true;
  yield* gruUnloadContext(gts, true);
  return false;
});

/** Takes all that a thief needs of a victim, out of order, so it only tries: NULL, or what it could not have. */
const tryVictim = fn(
  function* tryVictim(gts: GruThreadState) {
    const { tsCtxlock, tsMm } = gts;
    if (!(yield* mutexTrylock(tsCtxlock))) return tsCtxlock;
    // The GMS pins the mm_struct.
    const { mmapSem } = tsMm!;
    if (!globals().life!.theftLocks || (yield* downWriteTrylock(mmapSem))) return null;
    yield* mutexUnlock(tsCtxlock);
    return mmapSem;
  },
  { name: 'gru_steal_context' },
);

/** Who could be stolen from: the GTS with its ts_ctxlock held, or a lock that is held by somebody else. */
interface Victims {
  victim: GruThreadState | null;
  busy: Mutex | RwSemaphore | null;
}

const lockVictim = fn(
  function* lockVictim(gru: GruState, from: number) {
    const count = contextCountOf(gru);
    yield* spinLock(gru.gsLock);
    let victim: GruThreadState | null = null;
    let busy: Victims['busy'] = null;
    for (let step = 0; step < count && victim === null; step += 1) {
      const gts = gtsOf(gru, (from + step) % count);
      if (gts === null) continue;
      busy = yield* tryVictim(gts);
      if (busy === null) victim = gts;
    }
    // As long as its mapping unloads it before it goes, the mapping's reference will do.
    if (victim !== null && !globals().life!.closeUnloads) yield* atomicInc(victim.tsRefcnt);
    yield* spinUnlock(gru.gsLock);
    return { victim, busy } as Victims;
  },
  { name: 'gru_steal_context' },
);

/** Unloads somebody, so that there is a free context; if all are busy, a lock that one of them holds. May sleep. */
const gruStealContext = fn(function* gruStealContext() {
  const data = globals();
  yield* preemptDisable();
  yield* spinLock(data.bsLock);
  let found: Victims = { victim: null, busy: null };
  for (const gru of allGrus()) {
    found = yield* lockVictim(gru, data.bsLruCtxnum);
    if (found.victim !== null) break;
  }
  data.bsLruCtxnum += 1;
  yield* spinUnlock(data.bsLock);
  yield* preemptEnable();
  const { victim, busy } = found;
  if (victim === null) return busy;
  const { mmapSem } = victim.tsMm!;
  yield* gruUnloadContext(victim, true);
  if (data.life!.theftLocks) yield* upWrite(mmapSem);
  yield* mutexUnlock(victim.tsCtxlock);
  if (!data.life!.closeUnloads) yield* gtsDrop(victim);
  return null;
});

/** Lets so much time pass that a lock is free. Touches nothing: what it is in may be gone. */
class Sleep extends Operation<void> {
  override readonly maySleep = true;

  constructor() {
    super(null);
  }

  override footprint(): void {
    // Time passes.
  }

  override isEnabled(task: Task): boolean {
    const lock = task.argument as Mutex | RwSemaphore;
    return lock instanceof Mutex ? lock.owner === null : lock.isFree;
  }

  override blockers(task: Task): readonly Task[] {
    const lock = task.argument as Mutex | RwSemaphore;
    if (!(lock instanceof Mutex)) return lock.keepsOutWriters;
    return lock.owner === null ? [] : [lock.owner];
  }

  perform(task: Task): void {
    const lock = task.argument as Mutex | RwSemaphore;
    if (lock instanceof Mutex) {
      running.requires(lock.lastRelease);
      return;
    }
    for (const [, end] of lock.pastReadHolds) running.requires(end);
    for (const [, end] of lock.pastWriteHolds) running.requires(end);
  }

  describe(): string {
    return 'schedule_timeout(GRU_ASSIGN_DELAY)';
  }
}

const SLEEP = new Sleep();

/** Loads the GTS and maps its context: VM_FAULT_*, or 0 if there is none to be had. */
const loadAndMap = fn(
  function* loadAndMap(vma: VmArea, address: number, gts: GruThreadState) {
    yield* mutexLock(gts.tsCtxlock);
    if (yield* gruCheckContextPlacement(gts)) {
      yield* mutexUnlock(gts.tsCtxlock);
      yield* gruUnloadContext(gts, true);
      return VM_FAULT_NOPAGE;
    }
    // Preemption is off so that the program's blade stays the same. What follows may sleep all the same, if the
    // page table of the address is missing.
    const { faultsUnpreempted } = globals().life!;
    if (faultsUnpreempted) yield* preemptDisable();
    const isLoaded = gts.tsGru !== null;
    const isAssigned = !isLoaded && (yield* gruAssignGruContext(gts));
    if (isAssigned) {
      yield* gruLoadContext(gts);
      const pfn = pageToPfn(contextOf(gts).page as Page);
      const error = yield* remapPfnRange(vma, address, pfn, GRU_GSEG_PAGESIZE);
      // Otherwise the program faults for ever on what is loaded and not mapped.
      if (error !== 0 && globals().life!.faultsFail) {
        yield* gruUnloadContext(gts, true);
        yield* mutexUnlock(gts.tsCtxlock);
        return VM_FAULT_OOM;
      }
    }
    if (faultsUnpreempted) yield* preemptEnable();
    yield* mutexUnlock(gts.tsCtxlock);
    return isLoaded || isAssigned ? VM_FAULT_NOPAGE : 0;
  },
  { name: 'gru_fault' },
);

/**
 * A program touches a segment that is not mapped. VM_FAULT_SIGBUS if nothing was set up for it. mmap_sem is held
 * for read. May sleep.
 */
export const gruFault = fn(function* gruFault(vma: VmArea, address: number, _flags: number) {
  const gts = yield* gruFindThreadState(vma, tsidOf(address, vma));
  if (gts === null) return VM_FAULT_SIGBUS;
  for (;;) {
    const result = yield* loadAndMap(vma, address, gts);
    if (result !== 0) return result;
    // The driver steals only now and then, so that nobody is robbed at once of what he stole; here, whenever it finds
    // nothing, and it sleeps only where there is nobody to steal from.
    const busy = yield* gruStealContext();
    if (busy !== null) yield* made(SLEEP, busy);
  }
});

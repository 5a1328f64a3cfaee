/**
 * struct mm_struct: one address space, and its two counters.
 *
 * `mm_users` counts those who use the address space (threads, mmget); when it falls to zero the last
 * mmput runs exit_mmap, which unmaps everything. `mm_count` pins the structure itself; all users
 * together hold one of it, mmgrab takes another; when it falls to zero the structure is freed. Who
 * holds only mm_count may not look at VMAs, fault, or register notifiers.
 *
 * Two calls go upwards from here: the last mmput runs exit_mmap, the last mmdrop destroys the
 * notifier structure. Both go through {@link mmHooks}, which `boot` fills in.
 * Later names: `mmap_sem` became `mmap_lock` (v5.8), `mmu_notifier_mm` became
 * `notifier_subscriptions` (v5.6).
 */
import { atomic, atomicDecAndTest, atomicInc, atomicIncNotZero } from '../kernel/atomic.ts';
import { mightSleep, warnOn } from '../kernel/assertion.ts';
import { fn, type KernelCallable } from '../kernel/call.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { perKernel } from '../kernel/kernel.ts';
import { current, running } from '../kernel/running.ts';
import { rwsem } from '../kernel/rwsem.ts';
import { kfree, kzalloc } from '../kernel/slab.ts';
import { spinlock } from '../kernel/spinlock.ts';
import { ptr, struct, type InstanceOf, type StructObject } from '../kernel/struct.ts';
import { pageTables } from './page-table.ts';
import { mmTlb } from './tlb.ts';
import { vmaTree } from './vma-tree.ts';

/** Bytes of a page. */
export const PAGE_SIZE = 4096;
/** The end of what a program can map: 47 bits without the last page. */
export const TASK_SIZE = 0x7fff_ffff_f000;
/** Below the stack and its gap; the real one is random. */
export const MMAP_BASE = 0x7fff_f7ff_f000;
/** Nothing is placed below unless it is asked for: vm.mmap_min_addr. */
export const MMAP_MIN_ADDR = 0x1_0000;
/** Where the heap begins; behind the program, and random, in a real process. */
export const START_BRK = 0x5555_5555_9000;

/** struct mm_struct: one address space. `mmUsers` keeps its mappings, `mmCount` the structure. */
export const MmStruct = struct('mm_struct', {
  mmUsers: atomic(1),
  mmCount: atomic(1),
  /** Write: the layout of the VMAs may change. */
  mmapSem: rwsem(),
  pageTableLock: spinlock(),
  /** The VMAs, sorted by address. Changed under mmap_sem held for write. */
  mmRb: vmaTree(),
  /** Number of VMAs. Under mmap_sem. */
  mapCount: 0,
  /** Below this, mappings whose address nobody asked for are placed, downwards. Constant. */
  mmapBase: MMAP_BASE,
  /** Between here and `mmapBase` no hole is greater than `cachedHoleSize`. Under mmap_sem. */
  freeAreaCache: MMAP_BASE,
  cachedHoleSize: 0,
  /** The heap is [startBrk, brk), in bytes. Under mmap_sem. */
  startBrk: START_BRK,
  brk: START_BRK,
  /** The page tables; the top one is made by the first fault. */
  pageTables: pageTables(),
  /** What the CPUs' TLBs hold of it. */
  tlb: mmTlb(),
  /** MMF_UNSTABLE: the OOM reaper takes its pages, so what a fault would find is not what was there. */
  isUnstable: false,
  /**
   * NULL until the first registration, then constant until the structure is freed. Stored while
   * mmap_sem and every lock of `mm_take_all_locks` are held, so holders of any one may read it.
   * Its type belongs to mmu-notifier.
   */
  mmuNotifierMm: ptr<StructObject>(),
  /** v5.3 and before: hmm's own, see drivers/hmm, which knows its type. Under `pageTableLock`. */
  hmm: ptr<StructObject>(),
  /** Pages that drivers keep pinned on its behalf: what RLIMIT_MEMLOCK would be held against. */
  pinnedVm: atomic(0),
});
export type MmStruct = InstanceOf<typeof MmStruct>;

/** What the layers above do when a counter falls to zero. */
export class MmHooks {
  exitMmap: KernelCallable<[MmStruct], void> | null = null;
  mmuNotifierMmDestroy: KernelCallable<[MmStruct], void> | null = null;
}

export const mmHooks = perKernel(() => new MmHooks());

/** `current->mm`, or NULL for a kernel thread. */
export function currentMm(): MmStruct | null {
  return current().mm as MmStruct | null;
}

/** A new, empty address space with one user, or NULL without memory. May sleep. */
export const mmAlloc = fn(function* mmAlloc() {
  return yield* kzalloc(MmStruct, GFP_KERNEL);
});

/** Pins the structure. The caller knows that it is pinned already. Pairs with {@link mmdrop}. */
export const mmgrab = fn(function* mmgrab(mm: MmStruct) {
  yield* atomicInc(mm.mmCount);
});

/** Drops a pin; the last one frees the structure. Never sleeps. Pairs with {@link mmgrab}. */
export const mmdrop = fn(function* mmdrop(mm: MmStruct) {
  if (yield* atomicDecAndTest(mm.mmCount)) yield* mmdropLast(mm);
});

/** Nobody can reach the structure any more: mm_count is zero. */
const mmdropLast = fn(
  function* mmdropLast(mm: MmStruct) {
    warnOn(mm === current().mm, 'mm == current->mm');
    const destroy = mmHooks(running).mmuNotifierMmDestroy;
    if (destroy !== null) yield* destroy(mm);
    yield* kfree(mm);
  },
  { name: '__mmdrop' },
);

/** Takes the address space into use. The caller knows that it is in use. Pairs with {@link mmput}. */
export const mmget = fn(function* mmget(mm: MmStruct) {
  yield* atomicInc(mm.mmUsers);
});

/**
 * Takes the address space into use if it still is; false when exit has begun. The caller holds
 * mm_count. Pairs with {@link mmput}.
 */
export const mmgetNotZero = fn(function* mmgetNotZero(mm: MmStruct) {
  return yield* atomicIncNotZero(mm.mmUsers);
});

/**
 * Drops a use; the last one runs exit_mmap and with it every release callback, in the caller's
 * context: hold no lock that a release callback takes. May sleep.
 */
export const mmput = fn(function* mmput(mm: MmStruct) {
  mightSleep();
  if (!(yield* atomicDecAndTest(mm.mmUsers))) return;
  const exit = mmHooks(running).exitMmap;
  if (exit !== null) yield* exit(mm);
  yield* mmdrop(mm);
});

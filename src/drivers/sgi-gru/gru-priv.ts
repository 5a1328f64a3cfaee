/**
 * sgi-gru, the driver of the GRU of SGI's UV machines: its structures and globals.
 *
 * A GRU is a coprocessor in the chipset that copies, adds and exchanges in the memory of user programs, by their own
 * virtual addresses. A program maps /dev/gru; each page of that mapping is a segment (GSEG) that stands for a
 * context of the hardware. Contexts are few: one is loaded when the program touches its segment, and may be stolen
 * for another program.
 *
 *   gru_vma_data        of a mapping: its segments
 *     gru_thread_state  (GTS) of a segment: where it is loaded, what is saved of it
 *       gru_mm_struct   (GMS) of an mm: the notifier, and which ASID the mm has on which chiplet
 *   gru_state           of a chiplet: which GTS has which context
 *
 * Who keeps what alive: the mapping has a reference to each GTS, so has the context that one is loaded into; each
 * GTS has one of the GMS.
 * Locks, outermost first: mmap_sem, ts_ctxlock, ms_asid_lock, gs_asid_lock, the TGH's lock; ts_ctxlock, bs_lock,
 * gs_lock; vd_lock alone.
 *
 * Modelled: all of that, in the versions of patch 4. Simplified: a segment is one page and has one control block;
 * chiplets are those of one blade. Left out: contexts of the kernel itself, statistics, preloading of the TLB, huge
 * pages, placement on blades (that on chiplets is there, for B-42), dumps.
 * Source: notifier-facts 1.4 and 3.1, the driver of v5.3 and v5.4.
 */
import type { KernelCallable } from '../../kernel/call.ts';
import type { ErrPtr } from '../../kernel/err-ptr.ts';
import { array } from '../../kernel/array.ts';
import { atomic } from '../../kernel/atomic.ts';
import { listHead } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { spinlock } from '../../kernel/spinlock.ts';
import {
  embed,
  field,
  ptr,
  struct,
  type InstanceOf,
  type StructObject,
} from '../../kernel/struct.ts';
import { waitQueueHead } from '../../kernel/wait.ts';
import { AddressSpace } from '../../mm-types/address-space.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';
import { GRU_MAX_GRUS, GRU_NUM_CCH, type GruChiplet } from './gru-chiplet.ts';

export const sgiGru = moduleText('gru');

/** Bytes of a segment. */
export const GRU_GSEG_PAGESIZE = 4096;
/** ASIDs in use: 8, 16, 24; 0 is none. The hardware has 2^24. */
export const MIN_ASID = 8;
export const MAX_ASID = 32;
export const ASID_INC = 8;
/** TLB handles of a chiplet. */
export const GRU_NUM_TGH = 2;
/** ts_ctxnum of a GTS that is not loaded. */
export const NULLCTX = -1;

/** How a program wants to hear of a miss. */
export const GRU_OPT_MISS_USER_POLL = 0x0;
export const GRU_OPT_MISS_FMM_INTR = 0x1;

/** What an mm has of one chiplet. Under ms_asid_lock. */
export const GruMmTracker = struct('gru_mm_tracker', {
  /** The generation of ASIDs that `mtAsid` is of. */
  mtAsidGen: 0,
  /** 0 for none. */
  mtAsid: 0,
  /** One bit for each context of the mm that is loaded. */
  mtCtxbitmap: 0,
});

export const GruMmStruct = struct('gru_mm_struct', {
  msNotifier: embed(MmuNotifier),
  /** v5.3 only: GTSs that use it. The series has `users` of the notifier instead. */
  msRefcnt: atomic(0),
  msAsidLock: spinlock(),
  /** Invalidations that have started and not ended. */
  msRangeActive: atomic(0),
  /** v5.3 only: the mm has called release. */
  msReleased: field(false),
  /** Who waits for the end of all invalidations. */
  msWaitQueue: waitQueueHead(),
  /** One bit for each chiplet on which the mm has an ASID. Under ms_asid_lock. */
  msAsidmap: 0,
  msAsids: array(GRU_MAX_GRUS, embed(GruMmTracker)),
});
export type GruMmStruct = InstanceOf<typeof GruMmStruct>;

/** A segment. */
export const GruThreadState = struct('gru_thread_state', {
  /** In the mapping's list. Under vd_lock. */
  tsNext: listHead(),
  /** Serialises loading, unloading and misses. Taken inside mmap_sem. */
  tsCtxlock: mutex(),
  tsRefcnt: atomic(1),
  /** Constant once the GTS can be found. */
  tsGms: ptr<GruMmStruct>(),
  /** NULL while it is not loaded. Under ts_ctxlock. */
  tsGru: ptr<GruState>(),
  tsCtxnum: NULLCTX,
  /** Not pinned: the mapping, and with it the GTS, goes before the mm does. */
  tsMm: ptr<MmStruct>(),
  tsVma: ptr<VmArea>(),
  /** Which segment of its mapping. */
  tsTsid: 0,
  tsUserOptions: GRU_OPT_MISS_USER_POLL,
  /** The chiplet that the program wants; -1 for any. Under ts_ctxlock. */
  tsUserChipletId: -1,
  /** Who registered as its owner. */
  tsTgidOwner: 0,
  /** What was in the control block when it was unloaded. Under ts_ctxlock. */
  tsGdata: 0,
});
export type GruThreadState = InstanceOf<typeof GruThreadState>;

/** A mapping of /dev/gru. */
export const GruVmaData = struct('gru_vma_data', {
  /** Protects the list. */
  vdLock: spinlock(),
  vdHead: listHead(),
  /** What GRU_CREATE_CONTEXT has asked for. Under mmap_sem. */
  vdUserOptions: GRU_OPT_MISS_USER_POLL,
});
export type GruVmaData = InstanceOf<typeof GruVmaData>;

/** Its GTS, see {@link gtsOf}. */
const ContextSlot = struct('gru_context_slot', { gts: ptr<StructObject>() });
/** Handles through which invalidations are issued; each can do one at a time. */
const TlbGlobalHandle = struct('gru_tlb_global_handle', { lock: spinlock() });

/** What the driver keeps of a chiplet. */
export const GruState = struct('gru_state', {
  gsGid: 0,
  gsChiplet: ptr<GruChiplet>(),
  /** Protects which context belongs to whom. */
  gsLock: spinlock(),
  /** One bit for each context that is taken. Under gs_lock. */
  gsContextMap: 0,
  /** Under gs_lock. The interrupt handler reads one whose context cannot go: it waits for the handler. */
  gsGts: array(GRU_NUM_CCH, embed(ContextSlot)),
  /** Protects the three that follow. */
  gsAsidLock: spinlock(),
  gsAsid: 0,
  /** The first ASID that must not be given out without looking who still uses which. */
  gsAsidLimit: MAX_ASID,
  /** How often ASIDs began anew. */
  gsAsidGen: 1,
  gsTgh: array(GRU_NUM_TGH, embed(TlbGlobalHandle)),
});
export type GruState = InstanceOf<typeof GruState>;

/** What patch 4 changes: how an mm's GMS is found, made and given back. */
export interface GmsLife {
  /**
   * The GMS of current's mm with one more user; or ERR_PTR(-ENOMEM, -EINTR, -EOVERFLOW). mmap_sem is held for write; if not, it
   * may only find one (v5.3, and only where that safeguard is taken away), and says -EAGAIN if there is none.
   */
  readonly register: KernelCallable<[mayOnlyFind?: true], GruMmStruct | ErrPtr>;
  /** One user less. May sleep in v5.3. */
  readonly drop: KernelCallable<[GruMmStruct], void>;
  /** How the ioctl that makes a GTS holds mmap_sem. For reading only where that one safeguard is taken away; then, too, where the mm has had a notifier. */
  readonly allocatesUnder: 'write' | 'read';
  /** Whether the end of a mapping unloads its contexts. False only where that safeguard is taken away. */
  readonly closeUnloads: boolean;
  /** Whether the ioctl that flushes keeps the segment locked meanwhile. It does in no version; what mends A-40. */
  readonly flushesLocked: boolean;
  /** Whether a thief keeps everybody else from the victim's mappings. It does in no version; what mends A-42. */
  readonly theftLocks: boolean;
  /** Whether a fault maps with preemption off. It does in all versions that are modelled; what mends A-43 is that it does not. */
  readonly faultsUnpreempted: boolean;
  /** Whether a fault fails whose mapping has failed. It goes on in all versions; preemption must be on. */
  readonly faultsFail: boolean;
  /** Whether who finds a context on the wrong chiplet unloads it with its locks held; B-42's fix does so without. */
  readonly misplacedUnloads: 'locked' | 'unlocked';
}

export const globals = sgiGru.data({
  life: ptr<GmsLife>(),
  /** All mappings of /dev/gru. */
  mapping: embed(AddressSpace),
  /** Which chiplets there are. Constant after init. */
  chipletCount: 0,
  grus: array(GRU_MAX_GRUS, embed(GruState)),
  /** Protects where the next theft begins. */
  bsLock: spinlock(),
  bsLruCtxnum: 0,
  bsLruGid: 0,
});

/** The GTS that is loaded into a context, or NULL. */
export function gtsOf(gru: GruState, ctxnum: number): GruThreadState | null {
  return gru.gsGts.get(ctxnum).gts as GruThreadState | null;
}

/** The chiplet of a number. */
export function gidToGru(gid: number): GruState {
  return globals().grus.get(gid);
}

/** All chiplets. */
export function allGrus(): GruState[] {
  return Array.from({ length: globals().chipletCount }, (_, gid) => gidToGru(gid));
}

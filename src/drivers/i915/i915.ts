/**
 * i915: its structures and globals, as far as user pointers need them.
 *
 * A program gives the driver a range of its own memory (DRM_I915_GEM_USERPTR), which then is a buffer like any other,
 * and has the GPU read and write there. The driver takes references to the pages when a job needs them, and wants to be
 * told when the program's page tables change.
 *
 *     drm_file ── handle ──> drm_i915_gem_object ── mmu_object ──> i915_mmu_object
 *                                 │ (v5.x)                            │ in the tree only while there are pages,
 *                                 │                                   │ or somebody is looking them up
 *                                 └─ mm ──> i915_mm_struct ── mn ──> i915_mmu_notifier { mn, lock, objects }
 *                                             by hash, one for each mm
 *
 * Modelled: handles, buffers with their pages, binding into the GPU's table of pages (GTT) and out of it, execbuffer
 * with several buffers, fences, deletion by a work, one device. Simplified: one address space of the GPU for all;
 * buffers that are not the program's memory have pages of their own from the first use on; a reservation (dma_resv) has
 * one fence, and readers find it under a spinlock; what the kernel retires in a worker or by whoever waits, the engine
 * does as its interrupt; start looks whether the tree is empty under its lock, not before it, too. Left out: rights (any
 * program may ask for UNSYNCHRONIZED), contexts, relocations, domains, mappings of buffers by programs, the shrinker, tiling,
 * resets, dma-buf.
 *
 * Order of locks, v5.x: mmap_sem, `mm_lock`; struct_mutex, `mm.lock` of a buffer, the notifier's spinlock. Submission
 * holds struct_mutex; so does invalidation. v6.1: mmap_sem, reservations in the order of addresses, `notifier_lock`.
 */
import type { DmaFence } from '../../device/fence.ts';
import { atomic } from '../../kernel/atomic.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import type { ErrPtr } from '../../kernel/err-ptr.ts';
import { hashTable } from '../../kernel/hash-table.ts';
import { hlistNode } from '../../kernel/hlist.ts';
import { intervalTreeNode, intervalTreeRoot } from '../../kernel/interval-tree.ts';
import { kref } from '../../kernel/kref.ts';
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
import { workStruct, type Workqueue, type WorkStruct } from '../../kernel/workqueue.ts';
import { xarray } from '../../kernel/xarray.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import { MmuIntervalNotifier } from '../../mmu-notifier/interval.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';

export const i915 = moduleText('i915');

/** What is a version of i915_gem_userptr.c: how the program's memory is watched, looked up and let go of. */
export interface UserptrVersion {
  /** From here on the buffer can be watched, on behalf of current's mm: 0 or -errno. May sleep. */
  readonly init: KernelCallable<[DrmI915GemObject], number>;
  /** The buffer goes; also when {@link init} has failed, wherever it had come to. May sleep. */
  readonly release: KernelCallable<[DrmI915GemObject], void>;
  /** `ops->get_pages`, with the buffer's lock held: 0 with `pages` filled in, or -errno. May sleep. */
  readonly getPages: KernelCallable<[DrmI915GemObject], number>;
  /** `ops->put_pages`, with the buffer's lock held; NULL if there are none. May sleep. */
  readonly putPages: KernelCallable<[DrmI915GemObject, readonly Page[] | null], void>;
  /** v6.1: before a submission locks anything: looks the pages up, 0 or -errno. May sleep. */
  readonly submitInit?: KernelCallable<[DrmI915GemObject], number>;
  /** v6.1: when the fence is left: 0, or -EAGAIN if what was looked up is old by now. */
  readonly submitDone?: KernelCallable<[readonly DrmI915GemObject[]], number>;
  /** What keeps a buffer bound while it is looked at: one mutex of the device, or the buffer's reservation. */
  readonly locks: 'struct_mutex' | 'resv';
  /** Whether root may have memory that is not watched. */
  readonly knowsUnsynchronized: boolean;
  /** Whether the device is taken away only when all buffers are freed, whoever has them (ours). */
  readonly waitsForBuffers?: boolean;
}

/** One open of the device. */
export const DrmFile = struct('drm_file', {
  /** Protects `object_idr`. */
  tableLock: spinlock(),
  /** The buffers by handle, each with a reference. */
  objectIdr: xarray<DrmI915GemObject>(),
});
export type DrmFile = InstanceOf<typeof DrmFile>;

/** The table of a buffer's pages for the GPU; here only the memory that it takes. */
export const SgTable = struct('sg_table', { count: 0 });
export type SgTable = InstanceOf<typeof SgTable>;

/** v5.3: what the driver has for an mm, on behalf of all buffers of it. */
export const I915MmStruct = struct('i915_mm_struct', {
  /** Pinned by mm_count. */
  mm: ptr<MmStruct>(),
  /** Stored under mmap_sem (write) and mm_lock; constant then. NULL as long as no buffer is watched. */
  mn: ptr<I915MmuNotifier>(),
  node: hlistNode(),
  /** One for each buffer. The last is dropped under mm_lock. */
  kref: kref(),
  work: workStruct(),
});
export type I915MmStruct = InstanceOf<typeof I915MmStruct>;

export const I915MmuNotifier = struct('i915_mmu_notifier', {
  mn: embed(MmuNotifier),
  /** Protects `objects`. Callbacks take it. */
  lock: spinlock(),
  /** The buffers that have pages, or for which pages are being looked up. */
  objects: intervalTreeRoot(),
  /** v5.0: for the works that start waits for. */
  wq: ptr<Workqueue>(),
});
export type I915MmuNotifier = InstanceOf<typeof I915MmuNotifier>;

/** A buffer as its notifier knows it. Belongs to the buffer. */
export const I915MmuObject = struct('i915_mmu_object', {
  mn: ptr<I915MmuNotifier>(),
  /** The buffer; see {@link bufferOf}. */
  obj: ptr<StructObject>(),
  /** In `i915_mmu_notifier.objects`: first and last byte. Under its lock. */
  it: intervalTreeNode(),
  /** v5.0 only. */
  work: workStruct(),
});
export type I915MmuObject = InstanceOf<typeof I915MmuObject>;

export const DrmI915GemObject = struct('drm_i915_gem_object', {
  /** One for each handle, and for each job until the GPU is done with it. */
  refcount: kref(),
  pageCount: 0,
  /** v6.1: what protects all below that says nothing else; several are taken in the order of their addresses. */
  resv: mutex(),
  /** Protects `fence`. */
  fenceLock: spinlock(),
  /** The last job that uses the buffer, or NULL. */
  fence: ptr<DmaFence>(),
  /** v5.x: `mm.lock`, protects the pages. Callbacks take it. */
  mmLock: mutex(),
  /** `mm.pages`: NULL as long as there are none. */
  pages: ptr<readonly Page[]>(),
  sgTable: ptr<SgTable>(),
  /** `mm.pages_pin_count`: who needs the pages to stay; being bound is one. */
  pagesPinCount: atomic(0),
  /** `mm.dirty`: the GPU was to write. Under what keeps it bound. */
  isDirty: field(false),
  /** The first page of the GTT it is bound to, or -1. Under struct_mutex, or the reservation. */
  gttStart: -1,
  /** `vma->pin_count`: submissions that need it bound. Under the same lock. */
  vmaPinCount: 0,
  freeWork: workStruct(),
  // What only user pointers have, constant if nothing else is said.
  isUserptr: field(false),
  isReadonly: field(false),
  /** Not watched, by the program's own wish. */
  isUnsynchronized: field(false),
  userptr: 0,
  /** Whose memory it is; what pins it differs by version. */
  usermm: ptr<MmStruct>(),
  /** v5.3. */
  mm: ptr<I915MmStruct>(),
  /** v5.x: NULL if it is not watched. */
  mmuObject: ptr<I915MmuObject>(),
  /** v5.x: the work that is looking pages up, or what it failed with. Under `mm_lock` of the buffer. */
  work: ptr<WorkStruct | ErrPtr>(),
  /** v6.1: `mm` is NULL if it is not inserted. */
  notifier: embed(MmuIntervalNotifier),
  /** v6.1: the sequence at which `pvec` was looked up. Under the reservation. */
  notifierSeq: -1,
  /** v6.1: pages that are looked up, and how many need them. Under the reservation. */
  pvec: ptr<readonly Page[]>(),
  pageRef: 0,
});
export type DrmI915GemObject = InstanceOf<typeof DrmI915GemObject>;

/** The buffer of a node in the tree. */
export function bufferOf({ obj }: I915MmuObject): DrmI915GemObject {
  return obj as DrmI915GemObject;
}

/** drm_i915_private, for the one device that there is. */
export const globals = i915.data({
  userptr: ptr<UserptrVersion>(),
  /** v5.x. Callbacks take it. */
  structMutex: mutex(),
  /** v5.3: protects `mm_structs`. After mmap_sem. */
  mmLock: mutex(),
  mmStructs: hashTable(1),
  /** v6.1: `mm.notifier_lock`, which the sequences of all buffers are set under; an rwlock_t there. */
  notifierLock: spinlock(),
  /** Protects `gttBitmap`. */
  gttLock: spinlock(),
  /** One bit for each page of the GTT in use. */
  gttBitmap: 0,
  /** For buffers whose last reference is gone. */
  wq: ptr<Workqueue>(),
  /** v5.x: for pages that are looked up, and for notifiers that are ended. */
  userptrWq: ptr<Workqueue>(),
  /** Jobs that the GPU has not done, and buffers that are not freed. */
  jobCount: atomic(0),
  bufferCount: atomic(0),
  /** Who takes the device away waits for one of them. */
  idle: waitQueueHead(),
});

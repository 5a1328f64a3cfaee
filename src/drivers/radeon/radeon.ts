/**
 * radeon: its structures and globals, as far as user pointers need them.
 *
 * A program gives the driver a range of its own memory (DRM_RADEON_GEM_USERPTR), and then has the GPU read and write
 * there. The driver takes references to the pages (get_user_pages) when a job needs them, and wants to be told when
 * the program's page tables change, so that it can wait for the GPU and let go.
 *
 *     drm_file ── handle ──> radeon_bo ── mn ──> radeon_mn { mn, objects }      one for each mm
 *                              │ mn_list           │ interval tree
 *                              └──────────< radeon_mn_node { it, bos }          overlapping BOs share one
 *
 * Modelled: handles, buffer objects with their reservation, fence and backing pages; binding into the GART and out of
 * it; command submission with several buffers; deletion that waits for the GPU; several boards. Simplified: a
 * radeon_bo is GEM object, TTM buffer object and TTM backing in one, with one reference counter; buffers that are not
 * the program's memory have pages of their own, VRAM is left out; wound/wait of reservations is replaced by an order
 * of addresses. Left out: virtual memory of the board, prime, tiling, resets (with exclusive_lock), mapping of
 * buffers by programs, reservations and validations that fail in a callback.
 *
 * Lock order: mmap_sem, `radeon_mn.lock`, `resv` of a buffer, `gart_lock`. Command submission holds mmap_sem and
 * reservations while it looks pages up.
 */
import type { DmaFence } from '../../device/fence.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { hashTable } from '../../kernel/hash-table.ts';
import { hlistNode } from '../../kernel/hlist.ts';
import { intervalTreeNode, intervalTreeRoot } from '../../kernel/interval-tree.ts';
import { kref } from '../../kernel/kref.ts';
import { listHead, listNode } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { spinlock } from '../../kernel/spinlock.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { workStruct, type Workqueue } from '../../kernel/workqueue.ts';
import { xarray } from '../../kernel/xarray.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import { MmuIntervalNotifier } from '../../mmu-notifier/interval.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';

export const radeon = moduleText('radeon');

/** What userptr needs of a version of radeon_mn.c: how buffers are watched. */
export interface UserptrVersion {
  /** `radeon_mn_register(bo, addr)`: 0 or -errno. May sleep. */
  readonly register: KernelCallable<[RadeonBo, number], number>;
  /** `radeon_mn_unregister(bo)`: for every buffer that goes, whether or not it is registered. May sleep. */
  readonly unregister: KernelCallable<[RadeonBo], void>;
  /** Whether pages are looked up before anything is reserved, and used only if nothing changed meanwhile. */
  readonly pinsFirst?: boolean;
  /** Whether what is allocated under a lock that callbacks take is allocated before it. */
  readonly allocatesFirst?: boolean;
  /** Whether a buffer is watched until the GPU is done with it, not only until its last handle is closed. */
  readonly unregistersLast?: boolean;
}

export const RadeonDevice = struct('radeon_device', {
  node: listNode(),
  /** Which board, and which minor. */
  index: 0,
  /** Protects `gart_bitmap`. */
  gartLock: spinlock(),
  /** One bit for each page of the GART in use. */
  gartBitmap: 0,
  /** For buffers that the GPU still uses when their last reference goes. */
  ttmWq: ptr<Workqueue>(),
  /** v5.3: who is watched, by mm. Under mn_lock. */
  mnHash: hashTable(1),
  /** v5.3: after mmap_sem, before `radeon_mn.lock`. */
  mnLock: mutex(),
});
export type RadeonDevice = InstanceOf<typeof RadeonDevice>;

/** One open of a device. */
export const DrmFile = struct('drm_file', {
  rdev: ptr<RadeonDevice>(),
  /** Protects `object_idr`. */
  tableLock: spinlock(),
  /** The buffers by handle, each with a reference. */
  objectIdr: xarray<RadeonBo>(),
});
export type DrmFile = InstanceOf<typeof DrmFile>;

export const RadeonBo = struct('radeon_bo', {
  /** One for each handle, and for each job while it is being submitted. */
  refcount: kref(),
  rdev: ptr<RadeonDevice>(),
  /** The reservation (a ww_mutex). Protects all below that says nothing else; callbacks take it. */
  resv: mutex(),
  pageCount: 0,
  /** The last job that uses the buffer, or NULL. */
  fence: ptr<DmaFence>(),
  /** Whether it is the program's memory: set when it is made. */
  isUserptr: field(false),
  userptr: 0,
  userflags: 0,
  /** Whose memory it is. Not pinned: compared with current's only. */
  usermm: ptr<MmStruct>(),
  /** The backing pages: referenced while bound if they are the program's, the buffer's own otherwise. */
  pages: ptr<readonly Page[]>(),
  /** `ttm->state == tt_bound`. Callbacks look at it without the reservation. */
  isBound: field(false),
  /** The first page of the GART it is bound to. */
  gartStart: 0,
  /** Whom it is registered with, and its place there. Under `radeon_mn.lock`. v5.3, series, v5.4. */
  mn: ptr<RadeonMn>(),
  mnList: listNode(),
  /** v5.5: its own notifier. `mm` is NULL if it is not registered. */
  notifier: embed(MmuIntervalNotifier),
  delayedDelete: workStruct(),
});
export type RadeonBo = InstanceOf<typeof RadeonBo>;

/** What radeon has for an mm (v5.3: and a device). */
export const RadeonMn = struct('radeon_mn', {
  mn: embed(MmuNotifier),
  /** Protects `objects`, and all that hangs there. Callbacks take it. */
  lock: mutex(),
  objects: intervalTreeRoot(),
  /** v5.3 only. */
  rdev: ptr<RadeonDevice>(),
  mm: ptr<MmStruct>(),
  node: hlistNode(),
  work: workStruct(),
});
export type RadeonMn = InstanceOf<typeof RadeonMn>;

/** A range with the buffers that lie in it, last byte inclusive. */
export const RadeonMnNode = struct('radeon_mn_node', { it: intervalTreeNode(), bos: listHead() });
export type RadeonMnNode = InstanceOf<typeof RadeonMnNode>;

export const globals = radeon.data({
  /** The devices, from load to unload. */
  devices: listHead(),
  /** Which version of radeon_mn.c is linked in. */
  userptr: ptr<UserptrVersion>(),
});

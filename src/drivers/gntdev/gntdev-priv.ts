/**
 * gntdev: maps memory that another domain has granted into a program.
 *
 *     IOCTL_GNTDEV_MAP_GRANT_REF     a map: which grants; nothing is mapped
 *     mmap at the map's index        Xen is told to write the frames to the new mapping's entries
 *     munmap, or whatever changes    Xen is told to take them away, before anybody touches the entries: that is what the
 *     the page tables                notifier is for
 *     IOCTL_GNTDEV_UNMAP_GRANT_REF   the map goes when nothing of it is mapped
 *
 *     gntdev_priv (an open file) ── maps ──> gntdev_grant_map ── slots: one for each grant
 *        mn (v5.3)                              vma, notifier (v5.5)
 *
 * Modelled: paravirtualised domains (`use_ptemod`), and auto-translated ones as far as they share the code; both lists
 * of maps; what is counted; what waits for references to the pages that others have taken (get_user_pages works on such
 * memory: find_special_page). Simplified: all arrays of a map are in it, so that there is one allocation; a map has two
 * grants at most; an auto-translated guest maps frames by remap_pfn_range. Left out: unmap_notify, copies, dma-bufs,
 * a limit of grants.
 *
 * Order of locks: mmap_sem, gntdev_priv.lock, the page table's.
 */
import type { KernelCallable } from '../../kernel/call.ts';
import { array } from '../../kernel/array.ts';
import { atomic } from '../../kernel/atomic.ts';
import { listHead } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { refcount } from '../../kernel/refcount.ts';
import {
  embed,
  field,
  ptr,
  struct,
  type InstanceOf,
  type StructObject,
} from '../../kernel/struct.ts';
import { delayedWork } from '../../kernel/workqueue.ts';
import { AddressSpace } from '../../mm-types/address-space.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import { MmuIntervalNotifier } from '../../mmu-notifier/interval.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';
import type { EntryAddress } from './xen.ts';

export const gntdev = moduleText('gntdev');

/** Grants that a map can have. */
export const MAP_COUNT_MAX = 2;
/** The handle of what is not mapped: INVALID_GRANT_HANDLE. */
export const NO_HANDLE = -1;

/** What waits until nobody has references to some pages: `gntab_unmap_queue_data`. */
export const UnmapData = struct('gntab_unmap_queue_data', {
  gnttabWork: delayedWork(),
  /** Whose slots. */
  map: ptr<StructObject>(),
  offset: 0,
  count: 0,
});
export type UnmapData = InstanceOf<typeof UnmapData>;

/** One grant of a map: `grants`, `map_ops`, `unmap_ops` and `pages` of the kernel, at one index. */
export const GrantSlot = struct('gntdev_grant', {
  /** Constant. */
  ref: 0,
  /** What Xen calls the mapping (here the grant's number), or NO_HANDLE. */
  handle: NO_HANDLE,
  /** Where Xen wrote the frame. */
  pte: ptr<EntryAddress>(),
  page: ptr<Page>(),
  /** Asynchronous forms: somebody has begun to unmap it. */
  beingRemoved: field(false),
  /** Ours: each grant waits for itself. */
  unmapData: embed(UnmapData),
});
export type GrantSlot = InstanceOf<typeof GrantSlot>;

export const GrantMap = struct('gntdev_grant_map', {
  /** In `maps` or `freeable_maps` of the file. Under its lock. */
  next: listHead(),
  /** Where it is mapped, or NULL. Written under mmap_sem and the file's lock. */
  vma: ptr<VmArea>(),
  /** Pages: the offset in the device's file by which mmap finds it, and how many. Constant once it is listed. */
  index: 0,
  count: 0,
  /** One for the list, one for each VMA; asynchronous forms, one for what is going on. */
  users: refcount(1),
  slots: array(MAP_COUNT_MAX, embed(GrantSlot)),
  /** Where `slots` begin in the address space; constant while it is mapped. */
  pagesVmStart: 0,
  /** From v5.5 on. */
  notifier: embed(MmuIntervalNotifier),
  /** Asynchronous forms: slots that are mapped, as far as Xen is concerned. */
  liveGrants: atomic(0),
  unmapData: embed(UnmapData),
  /** Ours: protects `slots`. Callbacks take it. */
  lock: mutex(),
  /** Ours: VMAs that are left. */
  liveVmas: atomic(0),
});
export type GrantMap = InstanceOf<typeof GrantMap>;

export const GntdevPriv = struct('gntdev_priv', {
  /** Maps that mmap finds. */
  maps: listHead(),
  /** v5.3: those that it no longer does, but that are mapped. */
  freeableMaps: listHead(),
  /** Protects both lists; in v5.3 callbacks take it. */
  lock: mutex(),
  /** v5.3: of who opened it; pinned by the notifier only. */
  mm: ptr<MmStruct>(),
  mn: embed(MmuNotifier),
});
export type GntdevPriv = InstanceOf<typeof GntdevPriv>;

export const globals = gntdev.data({
  version: ptr<GntdevVersion>(),
  /** Of auto-translated guests: all mappings of the device's file. */
  mapping: embed(AddressSpace),
});

/** What differs between versions. */
export interface GntdevVersion {
  /** False for an auto-translated guest. */
  readonly usePtemod: boolean;
  /** The file was opened: 0 or -errno. May sleep. */
  readonly open: KernelCallable<[GntdevPriv], number>;
  /** All maps are gone from the file. May sleep. */
  readonly release: KernelCallable<[GntdevPriv], void>;
  /** Whether a map that is no longer listed goes to the other list. */
  readonly hasFreeableMaps: boolean;
  /** Whether the map must not be mapped at `vma`: -errno, or 0. The file's lock is held. */
  readonly refuses: KernelCallable<[GntdevPriv, GrantMap, VmArea], number>;
  /** The map is to be watched at `vma`: 0 or -errno. mmap_sem (write) and the file's lock are held. */
  readonly watch: KernelCallable<[GrantMap, VmArea], number>;
  /** Before the entries are looked up. mmap_sem (write) is held. */
  readonly readBegin: KernelCallable<[GrantMap], void>;
  /** Mapping has failed after `watch`. */
  readonly unwatch: KernelCallable<[GntdevPriv, GrantMap], void>;
  /** A VMA of the map is split: the new one. */
  readonly vmaOpen: KernelCallable<[GrantMap], void>;
  /** A VMA of the map goes. */
  readonly vmaClose: KernelCallable<[GntdevPriv, GrantMap, VmArea], void>;
  /** Takes slots [offset, offset + count) away from the program, those that are mapped. May sleep. */
  readonly unmap: KernelCallable<[GrantMap, number, number], void>;
  /** What A-15 supposes: the map is allocated with the file's lock held. */
  readonly allocatesLocked?: boolean;
}

/**
 * vhost: the kernel's end of a virtqueue, a ring of requests in the memory of a program (a virtual machine's).
 *
 *     program                          worker, with the program's address space
 *     writes a descriptor, then
 *     avail.ring, avail.idx
 *     VHOST_KICK          --------->   reads avail.idx, avail.ring, the descriptor
 *                                      sends the byte
 *                                      writes used.ring, used.idx
 *     reads used.idx
 *
 * The worker reads and writes the ring by copy_from_user and copy_to_user. v5.3-rc1 made it faster: the pages of the
 * ring are looked up once and used by their kernel addresses, until a notifier says that they change. The references
 * to the pages are dropped at once, so that rests on the notifier alone. It was reverted before v5.3.
 *
 * Modelled: the notifier, its counter, the maps and who may use them, the ioctls that make and end them, the worker.
 * Simplified: a device has one queue of two entries; the maps are made when the backend is set already, not by the
 * first kick only; a descriptor is the byte that is to be sent; a kick is an ioctl;
 * the worker is a work item; a kernel address is a translation, as a device has them, which is judged as theirs are.
 * Left out: what is behind the device, the translation of guest addresses, logging of dirty pages, interrupts.
 *
 * Order of locks: dev.mutex, vq.mutex, mmap_sem, mmu_lock. Callbacks take mmu_lock only.
 */
import { deviceTranslations } from '../../device/translations.ts';
import { array } from '../../kernel/array.ts';
import type { KernelCallable } from '../../kernel/call.ts';
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
import { workStruct, type Workqueue } from '../../kernel/workqueue.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import { MmuIntervalNotifier } from '../../mmu-notifier/interval.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';

export const vhost = moduleText('vhost');

/** Entries of the queue. */
export const VRING_NUM = 2;

export const VHOST_ADDR_DESC = 0;
export const VHOST_ADDR_AVAIL = 1;
export const VHOST_ADDR_USED = 2;
export const VHOST_NUM_ADDRS = 3;

/** Where the three parts of a ring are, in bytes: what VHOST_SET_VRING_ADDR is given. */
export interface VringAddr {
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
}

/** Pages of a part of the ring, as the worker uses them: by their kernel addresses. */
export const VhostMap = struct('vhost_map', {
  /** By the address that the program has them at. */
  translations: deviceTranslations(),
  /** Without references. */
  pages: ptr<readonly Page[]>(),
});
export type VhostMap = InstanceOf<typeof VhostMap>;

/** One part of a ring: what is to be mapped, and the map if there is one. */
export const VhostUaddr = struct('vhost_uaddr', {
  /** Bytes; size 0 for none. Changed under the queue's mutex, while no callback can run. */
  uaddr: 0,
  size: 0,
  write: field(false),
  /** Written under mmu_lock. `vq->maps[]` in the kernel. */
  map: ptr<VhostMap>(),
  /** Of the form with interval notifiers; its `mm` is NULL while it is not inserted. */
  notifier: embed(MmuIntervalNotifier),
  vq: ptr<StructObject>(),
});
export type VhostUaddr = InstanceOf<typeof VhostUaddr>;

export const VhostVirtqueue = struct('vhost_virtqueue', {
  /** Serialises the worker with the ioctls. */
  mutex: mutex(),
  /** What the program said: for copies. Under `mutex`. */
  desc: 0,
  avail: 0,
  used: 0,
  lastAvailIdx: 0,
  /** Whether there is something behind the device. Under `mutex`. */
  hasBackend: field(false),
  /** Protects the maps, and the counter. */
  mmuLock: spinlock(),
  /** Parts of invalidations that have begun and not ended. Under `mmuLock`. */
  invalidateCount: 0,
  uaddrs: array(VHOST_NUM_ADDRS, embed(VhostUaddr)),
  poll: workStruct(),
});
export type VhostVirtqueue = InstanceOf<typeof VhostVirtqueue>;

export const VhostDev = struct('vhost_dev', {
  mutex: mutex(),
  /** The owner's, with a use of it (mm_users); NULL without owner. Under `mutex`, constant for the worker. */
  mm: ptr<MmStruct>(),
  mmuNotifier: embed(MmuNotifier),
  /** Not in v5.3-rc: whether `mmuNotifier` is registered. Under the queue's mutex. */
  hasNotifier: field(false),
  vq: embed(VhostVirtqueue),
  /** What runs the worker; one after the other. */
  worker: ptr<Workqueue>(),
  meta: ptr<MetadataOps>(),
});
export type VhostDev = InstanceOf<typeof VhostDev>;

/** How a version keeps the maps: all in which versions differ. */
export interface MetadataOps {
  /** The device has an owner: 0 or -errno. dev.mutex is held. */
  readonly start: KernelCallable<[VhostDev], number>;
  /** The worker has stopped and the device goes. */
  readonly stop: KernelCallable<[VhostDev], void>;
  /** VHOST_SET_VRING_ADDR: 0 or -errno. vq.mutex is held. */
  readonly setVringAddr: KernelCallable<[VhostDev, VringAddr], number>;
  /** Makes the map of a part, if that can be done now. vq.mutex is held. */
  readonly prefetch: KernelCallable<[VhostDev, VhostUaddr], void>;
  /** The map of a part, which stays until `endAccess`; or NULL. Nothing in between may sleep. */
  readonly beginAccess: KernelCallable<[VhostVirtqueue, VhostUaddr], VhostMap | null>;
  readonly endAccess: KernelCallable<[VhostVirtqueue], void>;
}

/** The parts of a ring, in order. */
export function* partsOf(vq: VhostVirtqueue): Generator<VhostUaddr> {
  for (let index = 0; index < VHOST_NUM_ADDRS; index += 1) yield vq.uaddrs.get(index);
}

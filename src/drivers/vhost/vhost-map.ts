/**
 * Maps of the parts of a ring, as far as all versions agree: looking the pages up, marking them, addresses.
 *
 * The pages are looked up without mmap_sem and without a fault, since the lock that is held is a spinlock.
 */
import { EFAULT, EINVAL } from '../../base/errno.ts';
import { declareCoherence } from '../../device/coherence.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { GFP_ATOMIC } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { getUserPagesFastOnly } from '../../mm/gup-fast.ts';
import { putUserPage } from '../../mm/gup.ts';
import { PAGE_SIZE, TASK_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { pageToPfn, PG_DIRTY, setPageFlag } from '../../mm-types/page.ts';
import {
  partsOf,
  vhost,
  VhostMap,
  VHOST_ADDR_AVAIL,
  VHOST_ADDR_DESC,
  VHOST_ADDR_USED,
  VRING_NUM,
  type VhostUaddr,
  type VhostVirtqueue,
  type VringAddr,
} from './vhost-priv.ts';

const { fn } = vhost;

/** Bytes of flags and index before the entries of avail and used. */
export const VRING_HEADER = 4;
const VRING_AVAIL_ALIGN = 2;
const VRING_USED_ALIGN = 4;

/** The map of a part as it is now; NULL where a page is missing, or may not be written. mmu_lock is held. */
export const vhostMapCreate = fn(
  function* vhostMapCreate(mm: MmStruct, part: VhostUaddr): Body<VhostMap | null> {
    const { uaddr, size, write } = part;
    const first = Math.floor(uaddr / PAGE_SIZE);
    const end = Math.ceil((uaddr + size) / PAGE_SIZE);
    const map = yield* kzalloc(VhostMap, GFP_ATOMIC);
    if (map === null) return null;
    const pages = yield* getUserPagesFastOnly(mm, first * PAGE_SIZE, end - first, write);
    if (pages.length === end - first) {
      for (const [at, page] of pages.entries()) {
        const entry = { pfn: pageToPfn(page), isWritable: write };
        yield* setDeviceEntry(map.translations, first + at, entry);
      }
      declareCoherence(map.translations, { first, end, cpuPage: first, mm, by: 'start' });
      map.pages = pages;
    }
    // From here on only the notifier keeps the map right.
    for (const page of pages) yield* putUserPage(page);
    if (map.pages !== null) return map;
    yield* kfree(map);
    return null;
  },
  { name: 'vhost_map_prefetch' },
);

/** What was written through the map is not to be lost. The pages are still there. Never sleeps. */
export const vhostSetMapDirty = fn(function* vhostSetMapDirty(part: VhostUaddr, map: VhostMap) {
  if (!part.write) return;
  for (const page of map.pages!) yield* setPageFlag(page, PG_DIRTY);
});

/** Whether a part has bytes in [start, end). */
export function vhostMapRangeOverlap(
  { uaddr, size }: VhostUaddr,
  start: number,
  end: number,
): boolean {
  return size > 0 && uaddr < end && start < uaddr + size;
}

/** 0, -EINVAL for parts that are not aligned, or -EFAULT for what is no address of a program. */
export function checkVringAddr({ desc, avail, used }: VringAddr): number {
  if (avail % VRING_AVAIL_ALIGN !== 0 || used % VRING_USED_ALIGN !== 0) return -EINVAL;
  const isOk = [desc, avail, used].every((part) => part + VRING_HEADER + VRING_NUM <= TASK_SIZE);
  return isOk ? 0 : -EFAULT;
}

/** For copies. vq.mutex is held. */
export function setVringAddr(vq: VhostVirtqueue, { desc, avail, used }: VringAddr): void {
  vq.desc = desc;
  vq.avail = avail;
  vq.used = used;
}

/** For maps. vq.mutex is held, and no callback looks. */
export function vhostSetupVqUaddr(vq: VhostVirtqueue, request: VringAddr): void {
  const { desc, avail, used } = request;
  setupUaddr(vq.uaddrs.get(VHOST_ADDR_DESC), desc, VRING_NUM, false);
  setupUaddr(vq.uaddrs.get(VHOST_ADDR_AVAIL), avail, VRING_HEADER + VRING_NUM, false);
  setupUaddr(vq.uaddrs.get(VHOST_ADDR_USED), used, VRING_HEADER + VRING_NUM, true);
  for (const part of partsOf(vq)) part.vq = vq;
}

function setupUaddr(part: VhostUaddr, uaddr: number, size: number, write: boolean): void {
  part.uaddr = uaddr;
  part.size = size;
  part.write = write;
}

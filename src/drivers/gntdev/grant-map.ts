/** Maps: their life, and what Xen is asked to do for them. */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { atomicAdd, atomicRead } from '../../kernel/atomic.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAddTail, listDel, listForEachEntry } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { refcountDecAndTest } from '../../kernel/refcount.ts';
import { RETRY, retry } from '../../kernel/retry.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { tableAlloc } from '../../mm/page-table-walk.ts';
import { vmPageProt } from '../../mm/pte-rights.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import type { VmArea } from '../../mm-types/vma.ts';
import {
  gntdev,
  globals,
  GrantMap,
  MAP_COUNT_MAX,
  NO_HANDLE,
  type GntdevPriv,
} from './gntdev-priv.ts';
import { granted, gnttabMapFrame, gnttabMapRef, gnttabUnmapFrame, gnttabUnmapRef } from './xen.ts';

const { fn } = gntdev;

// ---- life ----------------------------------------------------------------------------------------

/** A map of the grants `refs`, with one user; NULL without memory. May sleep. */
export const gntdevAllocMap = fn(function* gntdevAllocMap(refs: readonly number[]) {
  const map = yield* kzalloc(GrantMap, GFP_KERNEL);
  if (map === null) return null;
  map.count = refs.length;
  for (const [at, ref] of refs.entries()) {
    const slot = map.slots.get(at);
    slot.ref = ref;
    slot.handle = NO_HANDLE;
  }
  return map;
});

/** Lists it, at the first index with room. The file's lock is held. */
export function gntdevAddMap(priv: GntdevPriv, add: GrantMap): void {
  add.index = 0;
  for (const map of listForEachEntry(priv.maps, GrantMap, 'next')) {
    if (add.index + add.count <= map.index) {
      listAddTail(add.next, map.next);
      return;
    }
    add.index = map.index + map.count;
  }
  listAddTail(add.next, priv.maps);
}

/** The map at `index` with `count` grants, or NULL. The file's lock is held. */
export function gntdevFindMapIndex(priv: GntdevPriv, index: number, count: number) {
  for (const map of listForEachEntry(priv.maps, GrantMap, 'next')) {
    if (map.index === index && map.count === count) return map;
  }
  return null;
}

/** Drops a user; the last frees it. `priv` is NULL if the map is in no list any more. May sleep. */
export const gntdevPutMap = fn(function* gntdevPutMap(priv: GntdevPriv | null, map: GrantMap) {
  if (!(yield* refcountDecAndTest(map.users))) return;
  const { hasFreeableMaps, usePtemod } = globals().version!;
  if (hasFreeableMaps && priv !== null) {
    yield* mutexLock(priv.lock);
    listDel(map.next);
    yield* mutexUnlock(priv.lock);
  }
  if (!usePtemod) yield* unmapFrames(map);
  yield* kfree(map);
});

/** An auto-translated guest has nothing mapped any more. */
const unmapFrames = fn(
  function* unmapFrames(map: GrantMap) {
    for (let at = 0; at < map.count; at += 1) {
      const slot = map.slots.get(at);
      if (slot.handle === NO_HANDLE) continue;
      yield* gnttabUnmapFrame(slot.handle);
      slot.handle = NO_HANDLE;
    }
  },
  { name: 'unmap_grant_pages' },
);

// ---- mapping -------------------------------------------------------------------------------------

/** Where the entries of a mapping are: 0 or -ENOMEM. mmap_sem (write) is held, and keeps them there. May sleep. */
export const findGrantPtes = fn(function* findGrantPtes(map: GrantMap, vma: VmArea) {
  const mm = vma.vmMm as MmStruct;
  for (let at = 0; at < map.count; at += 1) {
    const address = vma.vmStart + at * PAGE_SIZE;
    const table = yield* tableAlloc(mm, address, 1);
    if (table === null) return -ENOMEM;
    map.slots.get(at).pte = { table, mm, address };
  }
  return 0;
});

/**
 * Has Xen map all grants: at the entries, and for the kernel, which references to the pages rest on. 0, or -EINVAL with
 * those mapped that there are.
 */
export const gntdevMapGrantPages = fn(function* gntdevMapGrantPages(
  map: GrantMap,
  vma: VmArea | null,
): Body<number> {
  let error = 0;
  let alloced = 0;
  for (let at = 0; at < map.count; at += 1) {
    const slot = map.slots.get(at);
    // An auto-translated guest may have it mapped already.
    if (slot.handle !== NO_HANDLE) continue;
    const status =
      vma === null ? 0 : yield* gnttabMapRef(slot.ref, slot.pte!, vmPageProt(vma.vmFlags));
    if (status !== 0 || (yield* gnttabMapFrame(slot.ref)) !== 0) {
      error = -EINVAL;
      continue;
    }
    slot.page = granted(slot.ref);
    slot.beingRemoved = false;
    slot.handle = slot.ref;
    alloced += 1;
  }
  yield* atomicAdd(map.liveGrants, alloced);
  return error;
});

// ---- unmapping -----------------------------------------------------------------------------------

/** Slots [offset, offset + count) of a map. */
export interface SlotRange {
  readonly offset: number;
  readonly count: number;
}

/** Waits until nobody has references to pages: looks again and again, in a delayed work. May sleep. */
export const gnttabWaitForPages = fn(
  function* gnttabWaitForPages(map: GrantMap, { offset, count }: SlotRange) {
    for (let at = offset; at < offset + count; at += 1) {
      const page = map.slots.get(at).page!;
      yield* retry('page_count(page) > 1', function* () {
        return (yield* atomicRead(page.refCount)) > 1 ? RETRY : 0;
      });
    }
  },
  { name: 'gnttab_unmap_refs_async' },
);

/** Has Xen take the entries away; it warns if Xen refuses. */
export const gnttabUnmapEntries = fn(
  function* gnttabUnmapEntries(map: GrantMap, { offset, count }: SlotRange) {
    for (let at = offset; at < offset + count; at += 1) {
      const slot = map.slots.get(at);
      const status = yield* gnttabUnmapRef(slot.handle, slot.pte!);
      warnOn(status !== 0, 'map->unmap_ops[offset + i].status');
    }
  },
  { name: 'gnttab_unmap_refs' },
);

/** And what the kernel has mapped: then the slots are free. */
export const gnttabUnmapKernel = fn(
  function* gnttabUnmapKernel(map: GrantMap, { offset, count }: SlotRange) {
    for (let at = offset; at < offset + count; at += 1) {
      const slot = map.slots.get(at);
      yield* gnttabUnmapFrame(slot.handle);
      slot.handle = NO_HANDLE;
    }
  },
  { name: 'gnttab_unmap_refs' },
);

/** Runs of slots that `isWanted`, within a range that may have holes. */
export function* runsOf(
  map: GrantMap,
  { offset, count }: SlotRange,
  isWanted: (at: number) => boolean,
): Generator<SlotRange> {
  const end = Math.min(offset + count, MAP_COUNT_MAX, map.count);
  for (let at = offset; at < end; at += 1) {
    if (!isWanted(at)) continue;
    const first = at;
    while (at < end && isWanted(at)) at += 1;
    yield { offset: first, count: at - first };
  }
}

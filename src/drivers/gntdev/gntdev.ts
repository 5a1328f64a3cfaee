/** The device: its files, ioctls, and mmap. */
import { EINVAL, ENOENT, ENOMEM, ENOTTY } from '../../base/errno.ts';
import {
  registerChrdev,
  unregisterChrdev,
  type File,
  type FileOperations,
} from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAddTail, listDel, listEmpty, listFirstEntry } from '../../kernel/list.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { refcountInc } from '../../kernel/refcount.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { remapPfnRange } from '../../mm/pfn-map.ts';
import { PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import {
  VM_DONTCOPY,
  VM_DONTDUMP,
  VM_DONTEXPAND,
  VM_MIXEDMAP,
  VM_SHARED,
  VM_WRITE,
} from '../../mm-types/vm-flags.ts';
import type { VmArea, VmOperations } from '../../mm-types/vma.ts';
import {
  gntdev,
  GntdevPriv,
  globals,
  GrantMap,
  MAP_COUNT_MAX,
  type GntdevVersion,
} from './gntdev-priv.ts';
import {
  findGrantPtes,
  gntdevAddMap,
  gntdevAllocMap,
  gntdevFindMapIndex,
  gntdevMapGrantPages,
  gntdevPutMap,
} from './grant-map.ts';

const { fn } = gntdev;

export const GNTDEV_PATH = '/dev/xen/gntdev';
/** The argument is a list of grants; returns the offset for mmap, in bytes. */
export const IOCTL_GNTDEV_MAP_GRANT_REF = 'IOCTL_GNTDEV_MAP_GRANT_REF';
/** The argument is a {@link UnmapGrantRef}. */
export const IOCTL_GNTDEV_UNMAP_GRANT_REF = 'IOCTL_GNTDEV_UNMAP_GRANT_REF';

export interface UnmapGrantRef {
  /** As IOCTL_GNTDEV_MAP_GRANT_REF returned it: bytes. */
  readonly offset: number;
  readonly count: number;
}

// ---- the VMAs of a map ---------------------------------------------------------------------------

const gntdevVmaOpen = fn(function* gntdevVmaOpen(vma: VmArea) {
  const map = vma.vmPrivateData as GrantMap;
  yield* refcountInc(map.users);
  yield* globals().version!.vmaOpen(map);
});

const gntdevVmaClose = fn(function* gntdevVmaClose(vma: VmArea) {
  const map = vma.vmPrivateData as GrantMap;
  const priv = vma.vmFile!.privateData as GntdevPriv;
  yield* globals().version!.vmaClose(priv, map, vma);
  vma.vmPrivateData = null;
  yield* gntdevPutMap(priv, map);
});

const autoVmops: VmOperations = { open: gntdevVmaOpen, close: gntdevVmaClose };

const gntdevVmops: VmOperations = {
  ...autoVmops,
  findSpecialPage(vma, address) {
    const map = vma.vmPrivateData as GrantMap;
    return map.slots.get(Math.floor((address - map.pagesVmStart) / PAGE_SIZE)).page;
  },
};

/** The frames of an auto-translated guest: vm_map_pages. */
const mapPages = fn(
  function* mapPages(map: GrantMap, vma: VmArea) {
    vma.mapping = globals().mapping;
    for (let at = 0; at < map.count; at += 1) {
      const pfn = pageToPfn(map.slots.get(at).page!);
      const error = yield* remapPfnRange(vma, vma.vmStart + at * PAGE_SIZE, pfn, PAGE_SIZE);
      if (error !== 0) return error;
    }
    return 0;
  },
  { name: 'vm_map_pages' },
);

/** Once the map has a VMA: 0 or -errno. mmap_sem (write) is held. */
const fillIn = fn(
  function* fillIn(map: GrantMap, vma: VmArea): Body<number> {
    const { usePtemod, readBegin } = globals().version!;
    yield* readBegin(map);
    if (!usePtemod) {
      const error = yield* gntdevMapGrantPages(map, null);
      return error === 0 ? yield* mapPages(map, vma) : error;
    }
    map.pagesVmStart = vma.vmStart;
    const error = yield* findGrantPtes(map, vma);
    return error === 0 ? yield* gntdevMapGrantPages(map, vma) : error;
  },
  { name: 'gntdev_mmap' },
);

/** The map that is to be mapped, with a user for the VMA; -errno. The file's lock is held. */
const claim = fn(
  function* claim(priv: GntdevPriv, vma: VmArea): Body<GrantMap | number> {
    const version = globals().version!;
    const map = gntdevFindMapIndex(priv, vma.vmPgoff, (vma.vmEnd - vma.vmStart) / PAGE_SIZE);
    if (map === null) return -EINVAL;
    if (version.usePtemod) {
      const refused = yield* version.refuses(priv, map, vma);
      if (refused !== 0) return refused;
      const error = yield* version.watch(map, vma);
      if (error !== 0) return error;
    }
    yield* refcountInc(map.users);
    return map;
  },
  { name: 'gntdev_mmap' },
);

/** 0; -EINVAL for no map, one that is mapped, or a private mapping; -EAGAIN while it is being unmapped; -ENOMEM, -EINTR. */
const gntdevMmap = fn(function* gntdevMmap(file: File, vma: VmArea): Body<number> {
  const priv = file.privateData as GntdevPriv;
  const { usePtemod, unwatch, unmap } = globals().version!;
  if ((vma.vmFlags & (VM_WRITE | VM_SHARED)) === VM_WRITE) return -EINVAL;
  yield* mutexLock(priv.lock);
  const map = yield* claim(priv, vma);
  yield* mutexUnlock(priv.lock);
  if (typeof map === 'number') return map;
  vma.vmOps = usePtemod ? gntdevVmops : autoVmops;
  vma.vmPrivateData = map;
  vma.vmFlags |= VM_DONTEXPAND | VM_DONTDUMP | VM_MIXEDMAP | (usePtemod ? VM_DONTCOPY : 0);
  const error = yield* fillIn(map, vma);
  if (error === 0) return 0;
  if (usePtemod) {
    yield* unmap(map, 0, map.count);
    yield* unwatch(priv, map);
  }
  yield* gntdevPutMap(priv, map);
  return error;
});

// ---- ioctls --------------------------------------------------------------------------------------

const mapGrantRef = fn(
  function* mapGrantRef(priv: GntdevPriv, refs: readonly number[]): Body<number> {
    const { allocatesLocked = false } = globals().version!;
    if (refs.length === 0 || refs.length > MAP_COUNT_MAX) return -EINVAL;
    if (allocatesLocked) yield* mutexLock(priv.lock);
    const map = yield* gntdevAllocMap(refs);
    if (!allocatesLocked && map !== null) yield* mutexLock(priv.lock);
    if (map !== null) gntdevAddMap(priv, map);
    if (allocatesLocked || map !== null) yield* mutexUnlock(priv.lock);
    return map === null ? -ENOMEM : map.index * PAGE_SIZE;
  },
  { name: 'gntdev_ioctl_map_grant_ref' },
);

/** 0 or -ENOENT. What is mapped stays mapped. */
const unmapGrantRef = fn(
  function* unmapGrantRef(priv: GntdevPriv, { offset, count }: UnmapGrantRef): Body<number> {
    yield* mutexLock(priv.lock);
    const map = gntdevFindMapIndex(priv, offset / PAGE_SIZE, count);
    if (map !== null) {
      listDel(map.next);
      if (globals().version!.hasFreeableMaps) listAddTail(map.next, priv.freeableMaps);
    }
    yield* mutexUnlock(priv.lock);
    if (map === null) return -ENOENT;
    yield* gntdevPutMap(priv, map);
    return 0;
  },
  { name: 'gntdev_ioctl_unmap_grant_ref' },
);

const gntdevIoctl = fn(function* gntdevIoctl(
  file: File,
  command: number | string,
  argument: unknown,
) {
  const priv = file.privateData as GntdevPriv;
  if (command === IOCTL_GNTDEV_MAP_GRANT_REF)
    return yield* mapGrantRef(priv, argument as readonly number[]);
  if (command === IOCTL_GNTDEV_UNMAP_GRANT_REF)
    return yield* unmapGrantRef(priv, argument as UnmapGrantRef);
  return -ENOTTY;
});

// ---- files ---------------------------------------------------------------------------------------

const gntdevOpen = fn(function* gntdevOpen(file: File) {
  const priv = yield* kzalloc(GntdevPriv, GFP_KERNEL);
  if (priv === null) return -ENOMEM;
  const error = yield* globals().version!.open(priv);
  if (error !== 0) {
    yield* kfree(priv);
    return error;
  }
  file.privateData = priv;
  return 0;
});

/** Nothing of the file is mapped: each VMA has a reference to it. */
const gntdevRelease = fn(function* gntdevRelease(file: File) {
  const priv = file.privateData as GntdevPriv;
  yield* mutexLock(priv.lock);
  while (!listEmpty(priv.maps)) {
    const map = listFirstEntry(priv.maps, GrantMap, 'next');
    listDel(map.next);
    yield* gntdevPutMap(null, map);
  }
  warnOn(!listEmpty(priv.freeableMaps), '!list_empty(&priv->freeable_maps)');
  yield* mutexUnlock(priv.lock);
  yield* globals().version!.release(priv);
  yield* kfree(priv);
});

const GNTDEV_FOPS: FileOperations = {
  owner: gntdev.text,
  open: gntdevOpen,
  release: gntdevRelease,
  ioctl: gntdevIoctl,
  mmap: gntdevMmap,
};

/** The module of a version. */
export function gntdevModule(version: GntdevVersion): ModuleType {
  const gntdevInit = fn(
    function* gntdevInit() {
      globals().version = version;
      return yield* registerChrdev(GNTDEV_PATH, GNTDEV_FOPS);
    },
    { name: 'gntdev_init' },
  );
  const gntdevExit = fn(
    function* gntdevExit() {
      yield* unregisterChrdev(GNTDEV_PATH);
    },
    { name: 'gntdev_exit' },
  );
  return gntdev.module({
    data: globals,
    init: gntdevInit,
    exit: gntdevExit,
  }) as unknown as ModuleType;
}

/**
 * Truncation, hole punching, and the end of an inode.
 *
 * Modelled: the size changes first, then the mappings of what is gone are told and emptied, then the pages
 * are taken out of the cache under their locks, then (truncation only) the mappings once more, for copies
 * that a fault has made meanwhile. Truncation takes private copies too, a hole does not.
 *
 *   CPU0 fault                               CPU1 ftruncate
 *   looks at the size: inside
 *                                            size = new
 *                                            unmaps [new, ...)
 *   locks the page
 *   looks at the size again: outside, SIGBUS
 *                                            locks the page, takes it out
 *
 * Simplified: extended attributes of tmpfs, huge pages and swapped pages of it are left out.
 */
import { EINVAL, ENOMEM } from '../base/errno.ts';
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { readOnce, writeOnce } from '../kernel/field.ts';
import { made, Operation, access, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { downRead, downWrite, upRead, upWrite } from '../kernel/rwsem.ts';
import type { Task } from '../kernel/task.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import { PAGE_SIZE } from '../mm-types/mm-struct.ts';
import { PG_DIRTY, setPageFlag, type Page } from '../mm-types/page.ts';
import { loadByte, storeByte, type PageContents } from '../mm-types/page-contents.ts';
import { behaviourOf } from './behaviour.ts';
import { vmaIntervalTreeFirst, vmaIntervalTreeNext } from './file-mapping.ts';
import { putPage } from './frames.ts';
import {
  findGetPage,
  findLockPage,
  findNextPage,
  lockPage,
  removeFromPageCache,
  unlockPage,
} from './page-cache.ts';
import { shmemGetPage } from './shmem.ts';
import { zapPageRangeSingle, type ZapDetails } from './zap.ts';

/** Behind the last page of any file. */
const LAST_INDEX = 2 ** 52;

/**
 * `unmap_mapping_pages(mapping, first, …)`: empties what maps pages [first, last] of the file, one notification
 * for each VMA, in the order of the file's tree. Takes i_mmap_rwsem. May sleep.
 */
export const unmapMappingPages = fn(function* unmapMappingPages(
  mapping: AddressSpace,
  first: number,
  last: number,
  details: ZapDetails,
) {
  const isWriter = behaviourOf(running).unmapMappingLock === 'write';
  yield* isWriter ? downWrite(mapping.iMmapRwsem) : downRead(mapping.iMmapRwsem);
  let vma = vmaIntervalTreeFirst(mapping, first, last);
  while (vma !== null) {
    const end = vma.vmPgoff + (vma.vmEnd - vma.vmStart) / PAGE_SIZE - 1;
    const from = vma.vmStart + (Math.max(first, vma.vmPgoff) - vma.vmPgoff) * PAGE_SIZE;
    const to = vma.vmStart + (Math.min(last, end) - vma.vmPgoff + 1) * PAGE_SIZE;
    yield* zapPageRangeSingle(vma, from, to, details);
    vma = vmaIntervalTreeNext(vma, first, last);
  }
  yield* isWriter ? upWrite(mapping.iMmapRwsem) : upRead(mapping.iMmapRwsem);
});

/** Makes a part of a page zero; the argument is start × 8192 + end. */
class ClearPart extends Operation<void> {
  private readonly contents: PageContents;

  constructor(contents: PageContents) {
    super(contents.memory);
    this.contents = contents;
  }

  footprint(out: Access[]): void {
    out.push(access(this.contents.variable, WRITE));
  }

  perform(task: Task): void {
    const packed = task.argument as number;
    this.contents.clear(Math.floor(packed / 8192), packed % 8192);
  }

  describe(): string {
    return 'folio_zero_segment(page)';
  }
}

/** Zeroes [start, end) of a page that is cached. */
const clearPart = fn(
  function* clearPart(mapping: AddressSpace, index: number, start: number, end: number) {
    const page = yield* findLockPage(mapping, index);
    if (page === null) return;
    yield* made(new ClearPart(page.contents), start * 8192 + end);
    yield* setPageFlag(page, PG_DIRTY);
    yield* unlockPage(page);
    yield* putPage(page);
  },
  { name: 'shmem_get_partial_folio' },
);

/** `truncate_inode_folio(mapping, page)`: takes one page out. The caller has a reference. */
const truncatePage = fn(
  function* truncatePage(mapping: AddressSpace, page: Page) {
    yield* lockPage(page);
    if (page.mapping === mapping) {
      if ((yield* atomicRead(page.mapCount)) > 0) {
        const details = { evenCows: false, single: page };
        yield* unmapMappingPages(mapping, page.index, page.index, details);
      }
      yield* removeFromPageCache(mapping, page);
    }
    yield* unlockPage(page);
    yield* putPage(page);
  },
  { name: 'truncate_inode_folio' },
);

/** `shmem_undo_range`: takes the pages of [start, end), in bytes, out of the cache; zeroes parts of pages. */
const undoRange = fn(
  function* undoRange(mapping: AddressSpace, start: number, end: number) {
    const first = Math.ceil(start / PAGE_SIZE);
    const stop = Math.floor(end / PAGE_SIZE);
    let page = yield* findNextPage(mapping, first, stop - 1);
    while (page !== null) {
      const index: number = page.index;
      yield* truncatePage(mapping, page);
      page = index + 1 < stop ? yield* findNextPage(mapping, index + 1, stop - 1) : null;
    }
    const head = start % PAGE_SIZE;
    const tail = end % PAGE_SIZE;
    if (stop < first) {
      yield* clearPart(mapping, stop, head, tail);
      return;
    }
    if (head !== 0) yield* clearPart(mapping, first - 1, head, PAGE_SIZE);
    if (tail !== 0) yield* clearPart(mapping, stop, 0, tail);
  },
  { name: 'shmem_undo_range' },
);

/**
 * ftruncate: sets the size, in bytes. Shrinking unmaps, and drops the pages. 0 or -EINVAL. Takes the inode lock
 * and the lock of the file's mappings. May sleep.
 *
 * @kernel shmem_setattr
 */
export const truncateInode = fn(
  function* truncateInode(mapping: AddressSpace, size: number) {
    if (!Number.isInteger(size) || size < 0) return -EINVAL;
    yield* downWrite(mapping.inodeRwsem);
    const before = mapping.size;
    if (size !== before) yield* writeOnce(mapping, 'size', size);
    if (size < before) {
      const first = Math.ceil(size / PAGE_SIZE);
      const isMappable = first * PAGE_SIZE < before;
      if (isMappable) yield* unmapMappingPages(mapping, first, LAST_INDEX, { evenCows: true });
      yield* undoRange(mapping, size, LAST_INDEX * PAGE_SIZE);
      if (isMappable) yield* unmapMappingPages(mapping, first, LAST_INDEX, { evenCows: true });
    }
    yield* upWrite(mapping.inodeRwsem);
    return 0;
  },
  { name: 'shmem_setattr' },
);

/**
 * fallocate(PUNCH_HOLE | KEEP_SIZE) of [start, end), in bytes, and MADV_REMOVE. 0 or -EINVAL. Takes the inode lock
 * and the lock of the file's mappings. May sleep.
 *
 * @kernel shmem_fallocate
 */
export const punchHole = fn(
  function* punchHole(mapping: AddressSpace, start: number, end: number) {
    if (start < 0 || end <= start) return -EINVAL;
    yield* downWrite(mapping.inodeRwsem);
    const first = Math.ceil(start / PAGE_SIZE);
    const stop = Math.floor(end / PAGE_SIZE);
    if (stop > first) yield* unmapMappingPages(mapping, first, stop - 1, { evenCows: false });
    yield* undoRange(mapping, start, end);
    yield* upWrite(mapping.inodeRwsem);
    return 0;
  },
  { name: 'shmem_fallocate' },
);

/**
 * `truncate_inode_pages_final(mapping)`: drops all pages of an inode that nobody has open or mapped any more. May
 * sleep.
 */
export const truncateInodePagesFinal = fn(function* truncateInodePagesFinal(mapping: AddressSpace) {
  yield* undoRange(mapping, 0, LAST_INDEX * PAGE_SIZE);
});

/**
 * A write of the kernel (`pwrite`), one byte at an offset; grows the file. 0 or -ENOMEM. Takes the inode lock. May
 * sleep.
 */
export const writeFileByte = fn(
  function* writeFileByte(mapping: AddressSpace, offset: number, byte: number) {
    yield* downWrite(mapping.inodeRwsem);
    const isBeyond = offset >= mapping.size;
    if (isBeyond) yield* writeOnce(mapping, 'size', offset + 1);
    const page = yield* shmemGetPage(mapping, Math.floor(offset / PAGE_SIZE));
    if (typeof page !== 'number') {
      yield* storeByte(page.contents, offset % PAGE_SIZE, byte);
      yield* setPageFlag(page, PG_DIRTY);
      yield* unlockPage(page);
      yield* putPage(page);
    }
    yield* upWrite(mapping.inodeRwsem);
    return typeof page === 'number' ? -ENOMEM : 0;
  },
  { name: 'shmem_write' },
);

/** A read of the kernel (`pread`): the byte, or -1 at or behind the end of the file. Never fails. */
export const readFileByte = fn(
  function* readFileByte(mapping: AddressSpace, offset: number) {
    if (offset >= (yield* readOnce(mapping, 'size'))) return -1;
    const page = yield* findGetPage(mapping, Math.floor(offset / PAGE_SIZE));
    if (page === null) return 0;
    const byte = yield* loadByte(page.contents, offset % PAGE_SIZE);
    yield* putPage(page);
    return byte;
  },
  { name: 'shmem_file_read_iter' },
);

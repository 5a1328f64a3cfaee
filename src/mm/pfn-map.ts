/**
 * What drivers map into processes: frames of their own, by number (VM_PFNMAP).
 *
 * Nobody counts who maps such a frame, and no reverse map finds it. The driver alone knows, and takes its frames
 * back by unmap_mapping_range before it uses them for something else, or frees them:
 *
 *   driver                                  process
 *   mmap of the device's file
 *     remap_pfn_range(vma, frame)           uses the frame
 *   unmap_mapping_range(mapping, place)
 *     no entry and no TLB has it any more
 *   frees the frame                         faults: SIGBUS
 *
 * Modelled: entries that are special; the place in the device's file that a frame was mapped for, so that one who
 * still translates to it when it is given to another place is found. Simplified: a driver sets `vma.mapping`, the
 * kernel takes the file's; only shared mappings, since private ones of this kind are copied on write from memory
 * that may not be memory. A driver may map at once, or when a fault asks for it (vm_ops). Left out: caching modes.
 */
import { EINVAL, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { access, made, Operation, READ, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { Task } from '../kernel/task.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import type { FilePlace } from '../mm-types/page-contents.ts';
import {
  mkPte,
  pteNone,
  PTE_SPECIAL,
  pteText,
  type PageTable,
  type Pte,
} from '../mm-types/page-table.ts';
import {
  isCowMapping,
  VM_DONTDUMP,
  VM_DONTEXPAND,
  VM_IO,
  VM_PFNMAP,
} from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { reportTranslators } from './detector/stale-translation.ts';
import { pfnToPage } from './frames.ts';
import { pteIndex, tableAlloc } from './page-table-walk.ts';
import { vmPageProt } from './pte-rights.ts';
import { linearPageIndex } from './rmap.ts';
import { unmapMappingPages } from './truncate.ts';
import { zapPageRangeSingle } from './zap.ts';

interface Insertion {
  readonly index: number;
  readonly pfn: number;
  readonly rights: Pte;
  readonly place: FilePlace;
}

/** Stores a special entry: from now on the frame belongs to that place of the device's file. */
class InsertPfn extends Operation<void> {
  private readonly table: PageTable;
  private readonly what: Insertion;

  constructor(table: PageTable, what: Insertion) {
    super(table.memory);
    this.table = table;
    this.what = what;
  }

  footprint(out: Access[]): void {
    const { table } = this;
    out.push(access(table.lifeVariable, READ), access(table.variableOf(this.what.index), WRITE));
    const page = pfnToPage(this.what.pfn);
    if (page !== null) out.push(access(page.contents.ownerVariable, READ));
  }

  perform(): void {
    const { pfn, index, rights, place } = this.what;
    const page = pfnToPage(pfn);
    if (page === null) return running.misuse(`remap_pfn_range() maps the free frame ${pfn}`);
    const { owner } = page.contents;
    const isSame = owner?.mapping === place.mapping && owner.index === place.index;
    if (owner !== null && !isSame) {
      reportTranslators(running, page.memory, 'that is given to another place of its file');
    }
    page.contents.owner = place;
    this.table.ptes[index] = mkPte(pfn, rights | PTE_SPECIAL);
  }

  describe(_task: Task): string {
    const { index, pfn, rights } = this.what;
    const address = (this.table.base + index * PAGE_SIZE).toString(16);
    return `set_pte_at(0x${address}, ${pteText(mkPte(pfn, rights))})`;
  }
}

const PFNMAP_FLAGS = VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP;

/**
 * `remap_pfn_range(vma, address, pfn, size, vma->vm_page_prot)`: maps `size` bytes of frames, from number `pfn` on,
 * at `address` within the VMA, where nothing is mapped yet. Called by a driver's mmap, which has set `vma.mapping`,
 * or by its fault.
 * Returns 0, -EINVAL outside the VMA or for a private one that may be written, or -ENOMEM: then a part may be
 * mapped, which the end of the mapping takes away. mmap_sem is held, in mmap for write. May sleep.
 *
 * @kernel remap_pfn_range
 */
export const remapPfnRange = fn(function* remapPfnRange(
  vma: VmArea,
  address: number,
  pfn: number,
  size: number,
) {
  const end = address + size;
  const isInside = size > 0 && address >= vma.vmStart && end <= vma.vmEnd;
  const isWhole = address % PAGE_SIZE === 0 && size % PAGE_SIZE === 0;
  if (!isInside || !isWhole || isCowMapping(vma.vmFlags)) return -EINVAL;
  // In a fault, mmap_sem is held for read only: then the driver's mmap has set them already.
  if ((vma.vmFlags & PFNMAP_FLAGS) !== PFNMAP_FLAGS) vma.vmFlags |= PFNMAP_FLAGS;
  for (let at = address; at < end; at += PAGE_SIZE) {
    const error = yield* insertPfn(vma, at, pfn + (at - address) / PAGE_SIZE);
    if (error !== 0) return error;
  }
  return 0;
});

const insertPfn = fn(
  function* insertPfn(vma: VmArea, address: number, pfn: number) {
    const table = yield* tableAlloc(vma.vmMm as MmStruct, address, 1);
    if (table === null) return -ENOMEM;
    const index = pteIndex(address);
    const place = {
      mapping: vma.mapping as AddressSpace,
      index: linearPageIndex(vma, address),
    };
    yield* spinLock(table.ptl);
    const isFree = pteNone(table.ptes[index] as number);
    if (isFree) {
      const rights = vmPageProt(vma.vmFlags);
      yield* made(new InsertPfn(table, { index, pfn, rights, place }));
    }
    yield* spinUnlock(table.ptl);
    return isFree ? 0 : -EINVAL;
  },
  { name: 'remap_pte_range' },
);

/**
 * `unmap_mapping_range(mapping, start, length, even_cows)`: takes what maps [start, start + length) of a file, in
 * bytes, out of all processes; a length of 0 means up to the end. When it returns no page table has any of it. No
 * TLB has, either, unless a munmap that can no longer be found has not flushed yet: see the switch
 * `pfnmapFlushesBeforeUnlink`. Takes the lock of the file's mappings. May sleep.
 *
 * @kernel unmap_mapping_range
 */
export const unmapMappingRange = fn(function* unmapMappingRange(
  mapping: AddressSpace,
  start: number,
  length: number,
  evenCows: boolean,
) {
  const first = Math.floor(start / PAGE_SIZE);
  const last = length === 0 ? LAST_INDEX : Math.ceil((start + length) / PAGE_SIZE) - 1;
  yield* unmapMappingPages(mapping, first, last, { evenCows });
});

/**
 * `zap_vma_ptes(vma, address, size)`: takes [address, address + size) of a VMA of such frames out of the page tables
 * and the TLBs of its process, with a start and an end to its notifiers. The caller keeps the VMA and the page tables
 * from going meanwhile. May sleep.
 *
 * @kernel zap_vma_ptes
 */
export const zapVmaPtes = fn(function* zapVmaPtes(vma: VmArea, address: number, size: number) {
  const isInside = address >= vma.vmStart && address + size <= vma.vmEnd;
  if (!isInside || (vma.vmFlags & VM_PFNMAP) === 0) return;
  yield* zapPageRangeSingle(vma, address, address + size);
});

/** Behind the last page of any file. */
const LAST_INDEX = 2 ** 52;

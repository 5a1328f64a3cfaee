/**
 * The hypervisor, and the other domain that grants frames of its own to this one.
 *
 *     other domain                     Xen                           this domain (paravirtualised)
 *     xenGrantAccess(ref)   ------->   grant table: ref -> frame
 *                                      maps the frame    <--------   gnttabMapRef: at that entry of a page table
 *     xenEndAccess(ref):               takes the entry   <--------   gnttabUnmapRef: the handle, the same entry
 *       -EBUSY while it is mapped
 *
 * Such a guest does not write entries for foreign frames itself: it says by hypercall where the entry is, in memory, and
 * Xen writes it; to take it away it says the same again, and Xen refuses if the entry is not what it wrote. So the guest
 * must do so before it frees the table or writes to the entry.
 *
 * Modelled: the grant table, how often each frame is mapped, both hypercalls with what they refuse, the flush of the
 * TLBs. Simplified: a hypercall is a few steps, and its lock on a page table is the table's own; a frame and what
 * describes it here (a ballooned page) are one; a grant may always be written. Left out: versions of the grant table,
 * batches, copies, transfers.
 */
import { EBUSY, EINVAL, ENOMEM } from '../../base/errno.ts';
import { array } from '../../kernel/array.ts';
import { atomic, atomicDec, atomicInc, atomicRead } from '../../kernel/atomic.ts';
import { fn } from '../../kernel/call.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { allocPage, putPage } from '../../mm/frames.ts';
import { flushCpuTlbs } from '../../mm/tlb.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { pageToPfn, type Page } from '../../mm-types/page.ts';
import { loadByte, storeByte } from '../../mm-types/page-contents.ts';
import {
  mkPte,
  PTE_SPECIAL,
  ptepGetAndClear,
  ptePfn,
  setPteAt,
  type PageTable,
} from '../../mm-types/page-table.ts';

const PAGE_SIZE = 4096;

/** Grants that the other domain can make. */
export const GRANT_COUNT = 4;

const Grant = struct('grant_entry', {
  /** NULL as long as nothing is granted. */
  page: ptr<Page>(),
  /** How often this domain has it mapped. */
  maps: atomic(0),
  /** Whether it was granted; constant while it is mapped. */
  isGranted: field(false),
});
type Grant = InstanceOf<typeof Grant>;

const Domain = struct('xen_domain', { grants: array(GRANT_COUNT, embed(Grant)) });

const domain = staticObject(Domain);

function grantOf(ref: number): Grant | null {
  const isRef = Number.isInteger(ref) && ref >= 0 && ref < GRANT_COUNT;
  return isRef ? domain(running).grants.get(ref) : null;
}

// ---- the other domain ----------------------------------------------------------------------------

/** The other domain grants a frame with `byte` at its start: 0 or -ENOMEM. */
export const xenGrantAccess = fn(
  function* xenGrantAccess(ref: number, byte: number): Body<number> {
    const grant = grantOf(ref) as Grant;
    const page = yield* allocPage(GFP_KERNEL);
    if (page === null) return -ENOMEM;
    yield* storeByte(page.contents, 0, byte);
    grant.page = page;
    grant.isGranted = true;
    return 0;
  },
  { name: 'gnttab_grant_foreign_access' },
);

/** It takes the grant back, and frees the frame: 0, or -EBUSY while somebody maps it. */
export const xenEndAccess = fn(
  function* xenEndAccess(ref: number): Body<number> {
    const grant = grantOf(ref) as Grant;
    if ((yield* atomicRead(grant.maps)) !== 0) return -EBUSY;
    grant.isGranted = false;
    yield* putPage(grant.page!);
    return 0;
  },
  { name: 'gnttab_end_foreign_access' },
);

/** What the other domain reads at the start of its frame. */
export const xenLoad = fn(function* xenLoad(ref: number) {
  return yield* loadByte((grantOf(ref) as Grant).page!.contents, 0);
});

/** It writes there. */
export const xenStore = fn(function* xenStore(ref: number, byte: number) {
  yield* storeByte((grantOf(ref) as Grant).page!.contents, 0, byte);
});

// ---- hypercalls ----------------------------------------------------------------------------------

/** Where Xen is to write: an entry of a page table, and the address that it is for. */
export interface EntryAddress {
  readonly table: PageTable;
  readonly mm: MmStruct;
  readonly address: number;
}

function indexOf({ address }: EntryAddress): number {
  return Math.floor(address / PAGE_SIZE) % 512;
}

/** The frame of a grant, which is not mapped by that; NULL for a grant that there is not. */
export function granted(ref: number): Page | null {
  const grant = grantOf(ref);
  return grant !== null && grant.isGranted ? grant.page : null;
}

/**
 * `GNTTABOP_map_grant_ref` with `GNTMAP_contains_pte`: has Xen write the frame of `ref` to an entry with `rights`; 0, or
 * -EINVAL for a grant that there is not. Never sleeps.
 */
export const gnttabMapRef = fn(
  function* gnttabMapRef(ref: number, at: EntryAddress, rights: number): Body<number> {
    const page = granted(ref);
    if (page === null) return -EINVAL;
    yield* atomicInc((grantOf(ref) as Grant).maps);
    yield* spinLock(at.table.ptl);
    yield* setPteAt(at.table, indexOf(at), mkPte(pageToPfn(page), rights | PTE_SPECIAL));
    yield* spinUnlock(at.table.ptl);
    return 0;
  },
  { name: 'HYPERVISOR_map_grant_ref' },
);

/**
 * `GNTTABOP_unmap_grant_ref`: has Xen take it away again, from page table and TLBs; -EINVAL if the entry is not what Xen
 * wrote, or the handle
 * is none: then the frame stays mapped, as far as Xen is concerned. Never sleeps.
 */
export const gnttabUnmapRef = fn(
  function* gnttabUnmapRef(ref: number, at: EntryAddress): Body<number> {
    const grant = grantOf(ref);
    if (grant === null) return -EINVAL;
    const { table, mm, address } = at;
    yield* spinLock(table.ptl);
    const pte = table.ptes[indexOf(at)] as number;
    const isOurs = pte !== 0 && ptePfn(pte) === pageToPfn(grant.page!);
    if (isOurs) yield* ptepGetAndClear(table, indexOf(at));
    yield* spinUnlock(table.ptl);
    if (!isOurs) return -EINVAL;
    yield* flushCpuTlbs(mm, address, address + PAGE_SIZE);
    yield* atomicDec(grant.maps);
    return 0;
  },
  { name: 'HYPERVISOR_unmap_grant_ref' },
);

/** An auto-translated guest: Xen puts the frame at a frame number of the guest, which maps it itself. 0 or -EINVAL. */
export const gnttabMapFrame = fn(
  function* gnttabMapFrame(ref: number): Body<number> {
    if (granted(ref) === null) return -EINVAL;
    yield* atomicInc((grantOf(ref) as Grant).maps);
    return 0;
  },
  { name: 'HYPERVISOR_map_grant_ref' },
);

/** The same, taken back. Nothing of the guest maps the frame any more. */
export const gnttabUnmapFrame = fn(
  function* gnttabUnmapFrame(ref: number) {
    const grant = grantOf(ref);
    if (grant !== null) yield* atomicDec(grant.maps);
  },
  { name: 'HYPERVISOR_unmap_grant_ref' },
);

/**
 * SPTEs: made, taken away, aged, made read-only. mmu_lock is held for all of it, so that which there are can be looked
 * up without a step.
 */
import { deviceEntryYoung, flushDeviceTlb, setDeviceEntry } from '../../device/translations.ts';
import { lockdepAssertHeld } from '../../kernel/lockdep.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { pfnToPage } from '../../mm/frames.ts';
import { PG_DIRTY, setPageFlag } from '../../mm-types/page.ts';
import { GUEST_PAGE_COUNT, kvmModule, type Kvm } from './kvm.ts';
import type { GfnRange } from './memslot.ts';

const { fn } = kvmModule;

/** Pages of the range that have an SPTE. */
function present({ spt }: Kvm, { first, end }: GfnRange): number[] {
  return [...spt.table.keys()].filter((gfn) => gfn >= first && gfn < end).toSorted((a, b) => a - b);
}

/** `kvm_unmap_rmapp` for a range: whether there was anything. Whoever calls it flushes. */
export const kvmUnmapGfnRange = fn(function* kvmUnmapGfnRange(kvm: Kvm, range: GfnRange) {
  lockdepAssertHeld(kvm.mmuLock);
  const gone = present(kvm, range);
  for (const gfn of gone) {
    const entry = yield* setDeviceEntry(kvm.spt, gfn, null);
    // The page is the program's still. That the guest may have written must be known when it is not any more.
    const page = entry?.isWritable ? pfnToPage(entry.pfn) : null;
    if (page !== null) yield* setPageFlag(page, PG_DIRTY);
  }
  return gone.length > 0;
});

/** `kvm_flush_remote_tlbs`, of a range: no vCPU uses an old translation when it returns. */
export function kvmFlushRemoteTlbs({ spt }: Kvm, { first, end }: GfnRange) {
  return flushDeviceTlb(spt, first, end);
}

/** `kvm_age_gfn` for a range: whether the guest has used it since it was last asked. */
export const kvmAgeGfnRange = fn(function* kvmAgeGfnRange(
  kvm: Kvm,
  range: GfnRange,
  clears: boolean,
) {
  lockdepAssertHeld(kvm.mmuLock);
  let isYoung = false;
  for (const gfn of present(kvm, range)) {
    if (yield* deviceEntryYoung(kvm.spt, gfn, clears)) isYoung = true;
  }
  return isYoung;
});

/** Makes SPTEs read-only: whether one was writable. Whoever calls it flushes. */
export const kvmMmuWriteProtect = fn(function* kvmMmuWriteProtect(kvm: Kvm, range: GfnRange) {
  lockdepAssertHeld(kvm.mmuLock);
  let wasWritable = false;
  for (const gfn of present(kvm, range)) {
    const { pfn, isWritable } = kvm.spt.table.get(gfn)!;
    if (!isWritable) continue;
    const page = pfnToPage(pfn);
    if (page !== null) yield* setPageFlag(page, PG_DIRTY);
    yield* setDeviceEntry(kvm.spt, gfn, { pfn, isWritable: false });
    wasWritable = true;
  }
  return wasWritable;
});

/** Takes all SPTEs of a range away, and flushes. Takes mmu_lock. */
export const kvmZapGfnRange = fn(function* kvmZapGfnRange(kvm: Kvm, range: GfnRange) {
  yield* spinLock(kvm.mmuLock);
  if (yield* kvmUnmapGfnRange(kvm, range)) yield* kvmFlushRemoteTlbs(kvm, range);
  yield* spinUnlock(kvm.mmuLock);
});

/** `kvm_arch_flush_shadow_all`. */
export const kvmArchFlushShadowAll = fn(function* kvmArchFlushShadowAll(kvm: Kvm) {
  yield* kvmZapGfnRange(kvm, { first: 0, end: GUEST_PAGE_COUNT });
});

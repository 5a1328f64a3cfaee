/**
 * Taking a page out of all page tables that map it: for reclaim, which leaves swap entries behind, and for
 * migration, which leaves entries that make faults wait.
 *
 * For each mapping: start; lock; clear the entry and flush; carry the dirty mark over; set the new entry; uncount;
 * unlock; end. The reverse-map lock is held, mmap_sem is not; the page is locked. A page that is pinned, locked into
 * memory (mlock), or found dirty though it was to be dropped, stays.
 *
 * Before v4.14 it was told in other ways, see `unmapNotifies` in behaviour.ts.
 *
 * Simplified: no deferred flushes; one notification for each VMA, as for pages that are not huge.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { fn } from '../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../kernel/field.ts';
import { running } from '../kernel/running.ts';
import { spinUnlock } from '../kernel/spinlock.ts';
import { PG_DIRTY, PG_SWAPBACKED, setPageFlag, testPageFlag, type Page } from '../mm-types/page.ts';
import {
  mkPte,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_MIGRATION,
  PTE_MIGRATION_WRITE,
  PTE_SOFT_DIRTY,
  PTE_SWAP,
  PTE_WRITE,
  ptepGetAndClear,
  ptePfn,
  setPteAt,
  type Pte,
} from '../mm-types/page-table.ts';
import { VM_LOCKED } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStart } from '../mmu-notifier/invalidate.ts';
import { mmuNotifierInvalidateRange } from '../mmu-notifier/invalidate-range.ts';
import { MMU_NOTIFY_CLEAR, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { behaviourOf } from './behaviour.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { GUP_PIN_COUNTING_BIAS, putPage } from './frames.ts';
import { pteIndex } from './page-table-walk.ts';
import {
  mapsPage,
  pageRemoveRmap,
  pageVmaMapped,
  rmapWalk,
  vmaAddress,
  type MappedAt,
} from './rmap.ts';
import { swapDuplicate } from './swap.ts';
import { flushTlbRange } from './tlb.ts';

/** What is left behind. */
interface Unmapping {
  readonly isMigration: boolean;
  /** Whether mlock is no reason to stay (migration). */
  readonly ignoresLocks: boolean;
}

/** A pinned page must not stop being its owner's: somebody writes to it, or reads it, behind our back. */
const isPinned = fn(
  function* isPinned(page: Page) {
    return (yield* atomicRead(page.refCount)) >= GUP_PIN_COUNTING_BIAS;
  },
  { name: 'folio_maybe_dma_pinned' },
);

/** The entry that says where the page of `pte` is, or null if the page must stay. The entry is cleared. */
const replacement = fn(
  function* replacement(at: MappedAt, pte: Pte, how: Unmapping) {
    const { page } = at;
    const softDirty = pte & PTE_SOFT_DIRTY;
    if (!page.isAnon && !how.isMigration) return 0;
    const isExclusive = page.isAnon && (yield* dataRace(page, 'isAnonExclusive'));
    if (isExclusive && (yield* isPinned(page))) return null;
    const exclusive = isExclusive ? PTE_EXCLUSIVE : 0;
    if (how.isMigration) {
      const write = (pte & PTE_WRITE) !== 0 ? PTE_MIGRATION_WRITE : 0;
      if (isExclusive) yield* dataRaceWrite(page, 'isAnonExclusive', false);
      return mkPte(ptePfn(pte), PTE_MIGRATION | exclusive | write | softDirty);
    }
    if (!(yield* testPageFlag(page, PG_SWAPBACKED))) return yield* lazyFree(at);
    if (isExclusive) yield* dataRaceWrite(page, 'isAnonExclusive', false);
    yield* swapDuplicate(page.swapSlot);
    return mkPte(page.swapSlot, PTE_SWAP | exclusive | softDirty);
  },
  { name: 'try_to_unmap_one' },
);

/** A page of MADV_FREE goes without a trace, unless it was written since, or somebody else looks at it. */
const lazyFree = fn(
  function* lazyFree({ page }: MappedAt) {
    if (yield* testPageFlag(page, PG_DIRTY)) {
      yield* setPageFlag(page, PG_SWAPBACKED);
      return null;
    }
    const references = yield* atomicRead(page.refCount);
    // Its mappings, and who reclaims it.
    return references === (yield* atomicRead(page.mapCount)) + 1 ? 0 : null;
  },
  { name: 'try_to_unmap_one' },
);

const unmapEntry = fn(
  function* unmapEntry(at: MappedAt, how: Unmapping) {
    const { page, table, address, mm } = at;
    const index = pteIndex(address);
    const pte = yield* ptepGetAndClear(table, index);
    yield* flushTlbRange(mm, address, address + 4096);
    if ((pte & PTE_DIRTY) !== 0) yield* setPageFlag(page, PG_DIRTY);
    const entry = yield* replacement(at, pte, how);
    if (entry === null) {
      yield* setPteAt(table, index, pte);
      return false;
    }
    if (entry !== 0) yield* setPteAt(table, index, entry);
    const { invalidateRange, unmapNotifies } = behaviourOf(running);
    const tellsEach = invalidateRange === 'end' && unmapNotifies === 'range';
    if (page.isAnon && !how.isMigration && tellsEach) {
      yield* mmuNotifierInvalidateRange(mm, address, address + 4096);
    }
    yield* pageRemoveRmap(page);
    yield* putPage(page);
    return true;
  },
  { name: 'try_to_unmap_one' },
);

const unmapOne = fn(
  function* unmapOne(page: Page, vma: VmArea, argument: unknown) {
    const how = argument as Unmapping;
    const address = vmaAddress(vma, page.index);
    if (address < 0) return true;
    const mm = vma.vmMm!;
    const range: MmuNotifierRange = {
      mm,
      vma,
      start: address,
      end: address + 4096,
      event: MMU_NOTIFY_CLEAR,
      flags: 0,
    };
    const { unmapNotifies } = behaviourOf(running);
    if (unmapNotifies === 'range') yield* mmuNotifierInvalidateRangeStart(range);
    const at = yield* pageVmaMapped(page, vma, mapsPage);
    let goesOn = true;
    if (at !== null) {
      const flags = yield* dataRace(vma, 'vmFlags');
      const isLocked = (flags & VM_LOCKED) !== 0 && !how.ignoresLocks;
      goesOn = !isLocked && (yield* unmapEntry(at, how));
      if (unmapNotifies === 'page-locked')
        yield* mmuNotifierInvalidateRange(mm, address, range.end);
      yield* spinUnlock(at.table.ptl);
      if (unmapNotifies === 'page-after') yield* mmuNotifierInvalidateRange(mm, address, range.end);
    }
    if (unmapNotifies === 'range') yield* invalidateRangeEnd(range);
    return goesOn;
  },
  { name: 'try_to_unmap_one' },
);

/**
 * `try_to_unmap(page)`: for reclaim; a page of anonymous memory has a swap slot, or is one of MADV_FREE. Look at the
 * map count for the result. The page is locked and the caller has a reference. May sleep.
 */
export const tryToUnmap = fn(function* tryToUnmap(page: Page) {
  const how: Unmapping = { isMigration: false, ignoresLocks: false };
  yield* rmapWalk(page, unmapOne, how);
});

/** `try_to_migrate(page)`: as {@link tryToUnmap}, with migration entries. May sleep. */
export const tryToMigrate = fn(function* tryToMigrate(page: Page) {
  const how: Unmapping = { isMigration: true, ignoresLocks: true };
  yield* rmapWalk(page, unmapOne, how);
});

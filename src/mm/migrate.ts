/**
 * Migration: the contents of a page move to another frame while processes go on. For compaction, NUMA balancing,
 * memory that is to be unplugged.
 *
 *   allocate; lock the page; replace every entry by a migration entry (a start and end each); does nobody else refer
 *   to it? the new page takes its place in the cache; copy; replace the migration entries by the new page (nobody is
 *   told: what was invalidated must be faulted in again); unlock; drop the old page
 *
 * A fault that meets a migration entry waits until it is gone. If somebody refers to the page, everything is put back.
 * Left out: NUMA placement, batches. Migration to a device is in migrate-vma.ts.
 */
import { atomicRead } from '../kernel/atomic.ts';
import { peek } from '../kernel/await.ts';
import { fn } from '../kernel/call.ts';
import { dataRace, dataRaceWrite } from '../kernel/field.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { access, COMMUTE, made, Operation, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import { spinUnlock } from '../kernel/spinlock.ts';
import type { Task } from '../kernel/task.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import {
  PG_DIRTY,
  PG_SWAPBACKED,
  clearPageFlag,
  pageToPfn,
  setPageFlag,
  testPageFlag,
  type Page,
} from '../mm-types/page.ts';
import { copyContents } from '../mm-types/page-contents.ts';
import {
  mkPte,
  PTE_EXCLUSIVE,
  PTE_MIGRATION,
  PTE_MIGRATION_WRITE,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  PTE_DIRTY,
  ptePfn,
  setPteAt,
  type Pte,
} from '../mm-types/page-table.ts';
import { VM_WRITE } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { putAnonVma } from './anon-vma.ts';
import { allocPage, getPage, putPage } from './frames.ts';
import { lockPage, lockPageNested, unlockPage } from './page-cache.ts';
import { pteIndex } from './page-table-walk.ts';
import { vmPageProt } from './pte-rights.ts';
import { isolatePage } from './reclaim.ts';
import { pageAddRmap, pageGetAnonVma, pageVmaMapped, rmapWalkLocked } from './rmap.ts';
import { swapDevice } from './swap.ts';
import { tryToMigrate } from './try-to-unmap.ts';

/** From which page to which. They are one if migration failed. */
interface Move {
  readonly from: Page;
  readonly to: Page;
}

/** The entry of the new page where a migration entry is. */
function restoredPte(pte: Pte, page: Page, vmFlags: number, isDirty: boolean): Pte {
  const isWritable = (pte & PTE_MIGRATION_WRITE) !== 0 && (vmFlags & VM_WRITE) !== 0;
  const write = isWritable ? PTE_WRITE : 0;
  const dirty = isDirty && isWritable ? PTE_DIRTY : 0;
  return mkPte(pageToPfn(page), vmPageProt(vmFlags) | write | dirty | (pte & PTE_SOFT_DIRTY));
}

const removeMigrationPte = fn(function* removeMigrationPte(
  page: Page,
  vma: VmArea,
  argument: unknown,
) {
  const { from, to } = argument as Move;
  const pfn = pageToPfn(from);
  const at = yield* pageVmaMapped(
    page,
    vma,
    (pte) => (pte & PTE_MIGRATION) !== 0 && ptePfn(pte) === pfn,
  );
  if (at === null) return true;
  const index = pteIndex(at.address);
  const pte = at.table.ptes[index] as number;
  yield* getPage(to);
  yield* pageAddRmap(to);
  if ((pte & PTE_EXCLUSIVE) !== 0) yield* dataRaceWrite(to, 'isAnonExclusive', true);
  const isDirty = yield* testPageFlag(to, PG_DIRTY);
  // Changed under mmap_sem, which is not held here: whoever changes it comes to the entries afterwards.
  const vmFlags = yield* dataRace(vma, 'vmFlags');
  yield* setPteAt(at.table, index, restoredPte(pte, to, vmFlags, isDirty));
  yield* spinUnlock(at.table.ptl);
  return true;
});

/**
 * `folio_migrate_mapping`: if only the caller and a cache refer to the old page, the new one takes its place there.
 * One step, where the kernel freezes the count meanwhile.
 */
class MigrateMapping extends Operation<boolean> {
  footprint(out: Access[], task: Task): void {
    const { from } = task.argument as Move;
    const slot = peek(from, 'swapSlot');
    out.push(access(from.refCount.variable, WRITE));
    if (slot !== 0) out.push(access(swapDevice(running).variableOf(slot), WRITE));
    if (peek(from, 'isAnon')) return;
    const { pages } = peek(from, 'mapping') as AddressSpace;
    out.push(access(pages.variable, COMMUTE), access(pages.variableOf(peek(from, 'index')), WRITE));
  }

  perform(task: Task): boolean {
    const { from, to } = task.argument as Move;
    const isCached = !from.isAnon || from.swapSlot !== 0;
    if (from.refCount.value !== (isCached ? 2 : 1)) return false;
    if (!isCached) return true;
    if (from.isAnon) swapDevice(running).get(from.swapSlot).page = to;
    else (from.mapping as AddressSpace).pages.put(from.index, to);
    from.refCount.value -= 1;
    to.refCount.value += 1;
    return true;
  }

  describe(): string {
    return 'folio_migrate_mapping(page)';
  }
}

const migrateMappingOperation = new MigrateMapping(null);

/** The new page becomes what the old one was. Both are locked. */
const copyState = fn(
  function* copyState({ from, to }: Move) {
    yield* copyContents(to.contents, from.contents);
    if (yield* testPageFlag(from, PG_DIRTY)) yield* setPageFlag(to, PG_DIRTY);
    if (!(yield* testPageFlag(from, PG_SWAPBACKED))) yield* clearPageFlag(to, PG_SWAPBACKED);
    if (from.swapSlot !== 0) yield* dataRaceWrite(from, 'swapSlot', 0);
    if (!from.isAnon) from.mapping = null;
  },
  { name: 'folio_migrate_copy' },
);

/**
 * The contents and the place of a locked page that nobody maps go to another one, which is locked, too: whether nobody
 * else refers to it.
 */
export const replaceLocked = fn(
  function* replaceLocked(move: Move) {
    const { from, to } = move;
    to.mapping = from.mapping;
    to.index = from.index;
    to.isAnon = from.isAnon;
    to.swapSlot = from.swapSlot;
    const isMoved = from.mapCount.value === 0 && (yield* made(migrateMappingOperation, move));
    if (isMoved) {
      yield* copyState(move);
    } else {
      to.mapping = null;
      to.swapSlot = 0;
    }
    return isMoved;
  },
  { name: 'migrate_folio' },
);

const moveLocked = fn(
  function* moveLocked(move: Move) {
    const { from } = move;
    // Of a file and mapped nowhere: nobody needs to be told.
    if (from.isAnon || (yield* atomicRead(from.mapCount)) > 0) yield* tryToMigrate(from);
    const isMoved = yield* replaceLocked(move);
    const result: Move = isMoved ? move : { from, to: from };
    yield* rmapWalkLocked(result.to, removeMigrationPte, result);
    return isMoved;
  },
  { name: 'move_to_new_folio' },
);

/**
 * Moves a locked page, whose anon_vma the caller keeps, to a new frame, and puts it back where it was mapped: whether
 * it moved. The caller's reference stays with the old one. May sleep.
 */
export const migrateLocked = fn(
  function* migrateLocked(page: Page) {
    const fresh = yield* allocPage(GFP_KERNEL);
    const move: Move = { from: page, to: fresh ?? page };
    if (fresh === null) {
      yield* rmapWalkLocked(page, removeMigrationPte, move);
      return false;
    }
    yield* lockPageNested(fresh);
    const isMoved = yield* moveLocked(move);
    yield* unlockPage(fresh);
    yield* putPage(fresh);
    return isMoved;
  },
  { name: 'migrate_folio' },
);

/**
 * `migrate_pages` for one page that the caller has a reference to, and gives up: whether it moved. Pages that somebody
 * else refers to do not. May sleep.
 */
export const migratePage = fn(
  function* migratePage(page: Page) {
    const fresh = yield* allocPage(GFP_KERNEL);
    if (fresh === null) {
      yield* putPage(page);
      return false;
    }
    yield* lockPage(page);
    // Its anon_vma must stay though nobody maps the page meanwhile.
    const anonVma = page.isAnon ? yield* pageGetAnonVma(page) : null;
    const canMove = page.isAnon ? anonVma !== null : page.mapping !== null;
    let isMoved = false;
    if (canMove && !page.isKsm) {
      yield* lockPageNested(fresh);
      isMoved = yield* moveLocked({ from: page, to: fresh });
      yield* unlockPage(fresh);
    }
    yield* unlockPage(page);
    if (anonVma !== null) yield* putAnonVma(anonVma);
    yield* putPage(page);
    yield* putPage(fresh);
    return isMoved;
  },
  { name: 'migrate_pages' },
);

/** Migrates the page that is at `address` now: whether there is one and it moved. Takes no lock of the mm. May sleep. */
export const migrateAt = fn(
  function* migrateAt(mm: MmStruct, address: number) {
    const page = yield* isolatePage(mm, address);
    return page === null ? false : yield* migratePage(page);
  },
  { name: 'migrate_pages' },
);

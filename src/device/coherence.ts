/**
 * I8a, I8b and I6 of a device: which page an access reaches, and whether the CPU's page tables still say so.
 *
 * A driver declares how it keeps which part of a device's address space coherent with which mm:
 *
 *   'start'            nothing that was translated before invalidate_range_start is used until the end; so an
 *                      access must find what the page table says, with the right to write that it needs
 *   'invalidateRange'  the same, but for what the callback has not been told yet: a translation that was made
 *                      before invalidate_range was called may be used until it has returned
 *   'pinned'           the pages are referenced and the device keeps them, whatever the CPU maps: only I8a
 *
 * What an access reaches of an mm that has ended, and of which exit has unmapped the page, breaks I6: the release that
 * exit calls first was to stop it, and then nobody is told anything.
 *
 * The declaration changes nothing that the device does. An access that is held against the page table depends on
 * the entry there, and by 'invalidateRange' on the end of the walks that call the callback, too, so that no order
 * of the two is left out.
 */
import { access, READ, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import {
  ptePresent,
  ptePfn,
  pteText,
  pteWrite,
  tableIndex,
  type Pte,
} from '../mm-types/page-table.ts';
import { pfnToPage } from '../mm/frames.ts';
import { reportBroken } from '../mmu-notifier/detector/invariant.ts';
import { lastToldRange } from '../mmu-notifier/detector/ranges-told.ts';
import { notifierSrcu, type MmuNotifier } from '../mmu-notifier/mmu-notifier.ts';
import type { KeptEntry } from './translations.ts';

const PAGE_SIZE = 4096;

interface Followed {
  /** Pages [first, end) of the device. */
  readonly first: number;
  readonly end: number;
  /** Where they are in the mm: the page number there of page `first`. */
  readonly cpuPage: number;
  readonly mm: MmStruct;
}

interface FollowedByRange extends Followed {
  readonly by: 'invalidateRange';
  /** Whose callback it is. */
  readonly notifier: MmuNotifier;
}

/** What a driver declares of pages [first, end) of its device; see {@link declareCoherence}. */
export type Coherence =
  | (Followed & { readonly by: 'start' | 'pinned'; readonly notifier?: undefined })
  | FollowedByRange;

/** What translates for a device, with what was declared of it, newest last. */
export interface Coherent {
  readonly coherence: Coherence[];
}

/** Declares how pages [first, end) of a device are kept; what was declared for them before counts no more. */
export function declareCoherence(translations: Coherent, declared: Coherence): void {
  withdrawCoherence(translations, declared.first, declared.end);
  translations.coherence.push(declared);
}

/** Pages [first, end) follow no mm any more. */
export function withdrawCoherence({ coherence }: Coherent, first: number, end: number): void {
  for (let at = coherence.length - 1; at >= 0; at -= 1) {
    const old = coherence[at] as Coherence;
    if (old.first < end && first < old.end) coherence.splice(at, 1);
  }
}

/** What an access to `page` is held against: nothing where nobody watches. */
function followed({ coherence }: Coherent, page: number): Coherence | null {
  if (!running.isWatched) return null;
  for (const item of coherence) {
    if (item.by !== 'pinned' && page >= item.first && page < item.end) return item;
  }
  return null;
}

function cpuAddress({ first, cpuPage }: Coherence, page: number): number {
  return (cpuPage + page - first) * PAGE_SIZE;
}

/** Appends what judging an access to `page` looks at. */
export function coherenceFootprint(translations: Coherent, page: number, out: Access[]): void {
  const item = followed(translations, page);
  if (item === null) return;
  if (item.by === 'invalidateRange') {
    out.push(access(notifierSrcu().domain.leaveVariable, READ));
  }
  const address = cpuAddress(item, page);
  const { pageTables } = item.mm;
  pageTables.walkFootprint(out, address, 1);
  const table = pageTables.find(address, 1);
  if (table === null) return;
  out.push(access(table.lifeVariable, READ));
  out.push(access(table.variableOf(tableIndex(address, 1)), READ));
}

/** Reports what is wrong with an access through `entry` that is being made. */
export function judgeAccess(
  translations: Coherent,
  page: number,
  { entry, isWrite }: { readonly entry: KeptEntry; readonly isWrite: boolean },
): void {
  if (!running.isWatched) return;
  const item = followed(translations, page);
  const address = item === null ? 0 : cpuAddress(item, page);
  const table = item === null ? null : item.mm.pageTables.find(address, 1);
  const pte: Pte = table === null ? 0 : (table.ptes[tableIndex(address, 1)] as number);
  const isSame = ptePresent(pte) && ptePfn(pte) === entry.pfn;
  // Handed out again to the very page that the CPU has there now: the translation is as good as new.
  if (isSame && (!isWrite || pteWrite(pte))) return;
  if (entry.page !== null && pfnToPage(entry.pfn) !== entry.page) {
    broken('I8a', `the device reaches frame ${entry.pfn}, which was handed out again`);
    return;
  }
  if (item === null) return;
  const verb = isWrite ? 'writes to' : 'reads';
  if (item.mm.mmUsers.value === 0) {
    broken(
      'I6',
      `the device ${verb} frame ${entry.pfn} for 0x${address.toString(16)} of an mm that has ended: release did not stop it`,
    );
    return;
  }
  if (item.by === 'invalidateRange' && entry.since >= lastToldRange(item.notifier, address)) return;
  const why = item.by === 'invalidateRange' ? ', and invalidate_range has returned' : '';
  broken(
    'I8b',
    `the device ${verb} frame ${entry.pfn} for 0x${address.toString(16)}, where the CPU has: ${pteText(pte)}${why}`,
  );
}

function broken(invariant: 'I6' | 'I8a' | 'I8b', message: string): void {
  reportBroken(running, invariant, { object: 'page', message, place: running.place() });
}

/**
 * What a recorder sees of an address space from outside: its mappings, as /proc/PID/maps shows them, and
 * which pages are present, as /proc/PID/pagemap does. Nothing here takes a step or changes anything.
 */
import type { AddressSpace } from '../mm-types/address-space.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { PTE_SWAP, ptePresent, tableIndex } from '../mm-types/page-table.ts';
import { VM_EXEC, VM_READ, VM_SHARED, VM_WRITE } from '../mm-types/vm-flags.ts';
import { vmaTreeFind, vmaTreeNext } from '../mm-types/vma-tree.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { PAGE_BYTES, WINDOW_START, WINDOW_UNITS, type RecordedVma } from './recording.ts';

/** What /proc/PID/maps calls the files. */
export type FileNames = ReadonlyMap<AddressSpace, string>;

/** The mappings that begin in the window, in units of `unitBytes` bytes. */
export function seenVmas(mm: MmStruct, unitBytes: number, names: FileNames): RecordedVma[] {
  const seen: RecordedVma[] = [];
  const windowEnd = WINDOW_START + WINDOW_UNITS * unitBytes;
  let node = vmaTreeFind(mm.mmRb, WINDOW_START);
  for (; node !== null; node = vmaTreeNext(node)) {
    const vma = node.container as VmArea;
    if (vma.vmStart >= windowEnd) break;
    if (vma.vmStart < WINDOW_START) continue;
    const { mapping } = vma;
    seen.push([
      (vma.vmStart - WINDOW_START) / unitBytes,
      (vma.vmEnd - WINDOW_START) / unitBytes,
      permissionsOf(vma.vmFlags),
      mapping === null ? 'anon' : (names.get(mapping) ?? 'shm'),
      // Private anonymous memory has an offset too, but does not show it.
      mapping === null ? 0 : (vma.vmPgoff * PAGE_BYTES) / unitBytes,
    ]);
  }
  return seen;
}

function permissionsOf(flags: number): string {
  return [
    (flags & VM_READ) === 0 ? '-' : 'r',
    (flags & VM_WRITE) === 0 ? '-' : 'w',
    (flags & VM_EXEC) === 0 ? '-' : 'x',
    (flags & VM_SHARED) === 0 ? 'p' : 's',
  ].join('');
}

/** A letter for the first page of each unit of the window. */
export function presentUnits(mm: MmStruct, unitBytes: number): string {
  let letters = '';
  for (let unit = 0; unit < WINDOW_UNITS; unit += 1) {
    letters += letterOf(mm, WINDOW_START + unit * unitBytes);
  }
  return letters;
}

function letterOf(mm: MmStruct, address: number): string {
  const table = mm.pageTables.find(address, 1);
  const pte = table?.ptes[tableIndex(address, 1)] ?? 0;
  if (ptePresent(pte)) return '1';
  return (pte & PTE_SWAP) === 0 ? '.' : 's';
}

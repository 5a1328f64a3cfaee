/**
 * Random programs of memory system calls, and a world in which they run in direct mode: a few processes, two
 * files, and on the first process a secondary MMU that knows only what notifiers tell it.
 */
import * as fc from 'fast-check';
import * as mman from '../../src/base/mman.ts';
import { fn } from '../../src/kernel/call.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import { PTE_PROTNONE, ptePfn, ptePresent, pteWrite } from '../../src/mm-types/page-table.ts';
import type { Page } from '../../src/mm-types/page.ts';
import { VM_IGNORE_MERGE } from '../../src/mm-types/vm-flags.ts';
import type { VmArea } from '../../src/mm-types/vma.ts';
import { frames, ZERO_PFN } from '../../src/mm/frames.ts';
import type { Process } from '../../src/mm/process.ts';
import { MmuNotifier, type MmuNotifierRange } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import { entriesOf, mmProblems } from './mm-invariants.ts';
import { PAGE, User } from './user.ts';

export const WINDOW_PAGES = 16;
/** A boundary of 2 MiB, and so of a page table, lies in the middle of the window. */
export const WINDOW = 0x1_0020_0000 - (WINDOW_PAGES / 2) * PAGE;
export const FILE_PAGES = 8;

/** One call; positions and lengths in pages, positions relative to the window. */
export type Act =
  | {
      readonly kind: 'mmap';
      readonly at: number;
      readonly pages: number;
      readonly prot: number;
      readonly backing: 'anon' | 'shm' | 'private' | 'shared';
      readonly file: number;
      readonly offset: number;
    }
  | {
      readonly kind: 'mprotect';
      readonly at: number;
      readonly pages: number;
      readonly prot: number;
    }
  | { readonly kind: 'munmap' | 'mlock' | 'munlock'; readonly at: number; readonly pages: number }
  | {
      readonly kind: 'madvise';
      readonly at: number;
      readonly pages: number;
      readonly advice: number;
    }
  | {
      readonly kind: 'mremap';
      readonly at: number;
      readonly pages: number;
      readonly newPages: number;
      readonly to: number;
      readonly flags: number;
    }
  | { readonly kind: 'load'; readonly at: number }
  | { readonly kind: 'store'; readonly at: number; readonly byte: number }
  | { readonly kind: 'fork' }
  | { readonly kind: 'exit' }
  | { readonly kind: 'truncate'; readonly file: number; readonly pages: number }
  | { readonly kind: 'punch'; readonly file: number; readonly at: number; readonly pages: number }
  | { readonly kind: 'mirror' };

export interface Step {
  /** Which process; modulo the number there are. */
  readonly who: number;
  readonly act: Act;
}

const at = fc.nat(WINDOW_PAGES - 1);
const pages = fc.integer({ min: 1, max: 6 });
const prot = fc.constantFrom(0, 1, 3, 3, 5, 7);
const file = fc.nat(1);
const { MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP } = mman;

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('mmap' as const),
      at,
      pages,
      prot,
      backing: fc.constantFrom('anon', 'anon', 'shm', 'private', 'shared'),
      file,
      offset: fc.nat(4),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('mprotect' as const), at, pages, prot }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('munmap' as const), at, pages }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('mlock' as const, 'munlock' as const),
      at,
      pages,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('madvise' as const),
      at,
      pages,
      advice: fc.constantFrom(0, 2, 3, 4, 4, 8, 9, 10, 11, 18, 19, 22, 23),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('mremap' as const),
      at,
      pages: fc.integer({ min: 0, max: 6 }),
      newPages: pages,
      to: at,
      flags: fc.constantFrom(
        0,
        MREMAP_MAYMOVE,
        MREMAP_MAYMOVE | MREMAP_FIXED,
        MREMAP_MAYMOVE | MREMAP_FIXED,
        MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
      ),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('load' as const), at }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('store' as const),
      at,
      byte: fc.integer({ min: 1, max: 255 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'fork' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'exit' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('truncate' as const),
      file,
      pages: fc.nat(FILE_PAGES),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('punch' as const),
      file,
      at: fc.nat(FILE_PAGES),
      pages: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 5, arbitrary: fc.constant({ kind: 'mirror' as const }) },
);

/** Mostly about the first process. */
export const program: fc.Arbitrary<Step[]> = fc.array(
  fc.record({ who: fc.constantFrom(0, 0, 0, 1, 2), act }),
  { minLength: 1, maxLength: 60, size: 'max' },
);

/** A translation of the secondary MMU. */
interface Translation {
  readonly page: Page;
  readonly isWritable: boolean;
}

/** Keeps translations, and drops them when it is told to; sees nothing else of the mm. */
export class Shadow {
  readonly translations = new Map<number, Translation>();
  readonly open: MmuNotifierRange[] = [];
  readonly problems: string[] = [];

  start(range: MmuNotifierRange): void {
    this.open.push(range);
    for (const number of this.translations.keys()) {
      const address = number * PAGE;
      if (address >= range.start && address < range.end) this.translations.delete(number);
    }
  }

  end(range: MmuNotifierRange): void {
    const found = this.open.indexOf(range);
    if (found < 0) this.problems.push(`an end of ${range.start} without its start`);
    else this.open.splice(found, 1);
  }
}

export class World extends User {
  readonly processes: Process[] = [this.process];
  readonly fds: number[] = [];
  readonly shadow = new Shadow();
  private readonly mn = allocateStatic(this.machine, MmuNotifier);

  constructor() {
    super();
    for (const first of [100, 150]) {
      this.fds.push(this.file(FILE_PAGES, first));
    }
    const { shadow } = this;
    const { mn } = this;
    mn.ops = {
      invalidateRangeStart: fn(function* shadowStart(_mn: MmuNotifier, range: MmuNotifierRange) {
        shadow.start(range);
        return 0;
      }),
      invalidateRangeEnd: fn(function* shadowEnd(_mn: MmuNotifier, range: MmuNotifierRange) {
        shadow.end(range);
      }),
    };
    this.run(mmuNotifierRegister(mn, this.process.mm!));
  }

  /** Takes a step, and says what does not hold afterwards. */
  step({ who, act: what }: Step): string[] {
    const process = this.processes[who % this.processes.length] as Process;
    const isFirst = process === this.process;
    const before = isFirst ? flagsByPage(vmas(process.mm!)) : null;
    const result = this.perform(process, what);
    const problems = this.check();
    if (before !== null) problems.push(...mergeProblems(process, what, result, before));
    return problems;
  }

  check(): string[] {
    const mms = this.processes.map((process) => process.mm!);
    const problems = mmProblems(this.machine, mms);
    problems.push(...this.shadow.problems, ...this.staleTranslations());
    if (this.shadow.open.length > 0) problems.push('a start without its end');
    for (const task of this.machine.tasks) problems.push(`task ${task.name} is left over`);
    return problems;
  }

  private staleTranslations(): string[] {
    const problems: string[] = [];
    const entries = new Map(
      entriesOf(this.process.mm!).map(({ address, pte }) => [address / PAGE, pte]),
    );
    for (const [number, { page, isWritable }] of this.shadow.translations) {
      const pte = entries.get(number) ?? 0;
      const name = `the shadow of 0x${(number * PAGE).toString(16)}`;
      if (!page.memory.isLive) problems.push(`${name} is a page that was freed`);
      else if (!ptePresent(pte)) problems.push(`${name} is not mapped any more`);
      else if (this.pageOf(pte) !== page) problems.push(`${name} is a page that was replaced`);
      else if (isWritable && !pteWrite(pte)) problems.push(`${name} may still write`);
    }
    return problems;
  }

  private pageOf(pte: number): Page | null {
    const { pages: used, zeroPage } = frames(this.machine);
    return ptePfn(pte) === ZERO_PFN ? zeroPage : (used.get(ptePfn(pte)) ?? null);
  }

  /** Gives the secondary MMU translations of all that is mapped. */
  private mirror(): void {
    for (const { address, pte } of entriesOf(this.process.mm!)) {
      if (!ptePresent(pte) || (pte & PTE_PROTNONE) !== 0) continue;
      const page = this.pageOf(pte) as Page;
      this.shadow.translations.set(address / PAGE, { page, isWritable: pteWrite(pte) });
    }
  }

  private perform(process: Process, what: Act): number {
    const address = 'at' in what ? WINDOW + what.at * PAGE : 0;
    const length = 'pages' in what ? what.pages * PAGE : 0;
    switch (what.kind) {
      case 'mmap':
        return this.run(process.mmap(address, length, this.mmapOptions(what)));
      case 'mprotect':
        return this.run(process.mprotect(address, length, what.prot));
      case 'munmap':
        return this.run(process.munmap(address, length));
      case 'mlock':
        return this.run(process.mlock(address, length));
      case 'munlock':
        return this.run(process.munlock(address, length));
      case 'madvise':
        return this.run(process.madvise(address, length, what.advice));
      case 'mremap': {
        const options = { flags: what.flags, newAddress: WINDOW + what.to * PAGE };
        return this.run(process.mremap(address, length, what.newPages * PAGE, options));
      }
      case 'load':
        return this.run(process.load(address));
      case 'store':
        return this.run(process.store(address, what.byte));
      case 'truncate':
        return this.run(process.ftruncate(this.fds[what.file] as number, length));
      case 'punch': {
        const mode = mman.FALLOC_FL_PUNCH_HOLE | mman.FALLOC_FL_KEEP_SIZE;
        const fd = this.fds[what.file] as number;
        return this.run(process.fallocate(fd, mode, what.at * PAGE, length));
      }
      default:
        return this.live(process, what.kind);
    }
  }

  private mmapOptions(what: Extract<Act, { kind: 'mmap' }>): Parameters<Process['mmap']>[2] {
    const isShared = what.backing === 'shm' || what.backing === 'shared';
    const isAnonymous = what.backing === 'anon' || what.backing === 'shm';
    const flags =
      mman.MAP_FIXED |
      (isShared ? mman.MAP_SHARED : mman.MAP_PRIVATE) |
      (isAnonymous ? mman.MAP_ANONYMOUS : 0);
    if (isAnonymous) return { prot: what.prot, flags };
    const fd = this.fds[what.file] as number;
    return { prot: what.prot, flags, fd, offset: what.offset * PAGE };
  }

  private live(process: Process, kind: 'fork' | 'exit' | 'mirror'): number {
    if (kind === 'mirror') {
      this.mirror();
    } else if (kind === 'fork') {
      if (this.processes.length === 3) return 0;
      const child = this.run(process.fork());
      if (typeof child === 'number') return child;
      this.processes.push(child);
    } else if (process !== this.process) {
      this.run(process.exit());
      this.processes.splice(this.processes.indexOf(process), 1);
    }
    return 0;
  }

  /** Ends all processes, and says what is left over. */
  end(): string[] {
    this.run(mmuNotifierUnregister(this.mn, this.process.mm!));
    for (const process of this.processes) this.run(process.exit());
    const left = [...this.machine.slabMemory].map((memory) => `${memory.name} is left over`);
    for (const pfn of frames(this.machine).pages.keys()) left.push(`frame ${pfn} is left over`);
    return left;
  }
}

// ---- merging --------------------------------------------------------------------------------

/** The flags of the VMA that each page lies in. */
function flagsByPage(all: readonly VmArea[]): Map<number, number> {
  const found = new Map<number, number>();
  for (const { vmStart, vmEnd, vmFlags } of all) {
    for (let address = vmStart; address < vmEnd; address += PAGE) found.set(address, vmFlags);
  }
  return found;
}

/** Whether two neighbours could be one. */
function areMergeable(a: VmArea, b: VmArea): boolean {
  return (
    a.vmEnd === b.vmStart &&
    ((a.vmFlags ^ b.vmFlags) & ~VM_IGNORE_MERGE) === 0 &&
    a.vmFile === b.vmFile &&
    a.vmPgoff + (a.vmEnd - a.vmStart) / PAGE === b.vmPgoff &&
    (a.anonVma === b.anonVma || a.anonVma === null || b.anonVma === null)
  );
}

/** Neighbours that this very call should have joined. */
function mergeProblems(
  process: Process,
  what: Act,
  result: number,
  before: ReadonlyMap<number, number>,
): string[] {
  const all = vmas(process.mm!);
  const isTouched = touchedBy(what, result, before, flagsByPage(all));
  const problems: string[] = [];
  for (const [index, vma] of all.entries()) {
    const next = all[index + 1];
    if (next === undefined || !areMergeable(vma, next)) continue;
    if (isTouched(next.vmStart - PAGE) || isTouched(next.vmStart)) {
      problems.push(`the call left two neighbours apart at 0x${next.vmStart.toString(16)}`);
    }
  }
  return problems;
}

/** Whether the call tried to join the VMA of a page with its neighbours. */
function touchedBy(
  what: Act,
  result: number,
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
): (address: number) => boolean {
  if (what.kind === 'mmap' && result >= 0) {
    const start = WINDOW + what.at * PAGE;
    return (address) => address >= start && address < start + what.pages * PAGE;
  }
  if (what.kind === 'mremap' && result >= 0) {
    // Where the target was not filled, no mapping was made.
    const source = WINDOW + what.at * PAGE;
    const isInPlace = result === source;
    const grown = what.pages * PAGE;
    if (isInPlace) return (a) => a >= result + grown && a < result + what.newPages * PAGE;
    return (a) =>
      a >= result &&
      a < result + what.newPages * PAGE &&
      (what.pages !== what.newPages || before.has(source + a - result));
  }
  if (what.kind === 'mprotect' || what.kind === 'madvise' || what.kind === 'mlock') {
    return (address) => before.get(address) !== after.get(address);
  }
  if (what.kind === 'munlock') return (address) => before.get(address) !== after.get(address);
  return () => false;
}

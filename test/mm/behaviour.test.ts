/** Every switch in both positions; those of devices, khugepaged and hardware are in device.test.ts. Where each comes from stands beside it in mm/behaviour.ts. */
import { expect, test } from 'vitest';
import * as m from '../../src/base/mman.ts';
import { fn } from '../../src/kernel/call.ts';
import { downReadTrylock, upRead } from '../../src/kernel/rwsem.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { programOf } from '../../src/check/scenario.ts';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { LINUX_5_4, LINUX_6_18, setBehaviour, type Behaviour } from '../../src/mm/behaviour.ts';
import type { Process } from '../../src/mm/process.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import { MmuNotifier } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister } from '../../src/mmu-notifier/register.ts';
import { at, BASE, pages, User } from '../util/direct-user.ts';

/** Pages of a GiB. */
const GIB = 2 ** 30 / 4096;
const RW = m.PROT_READ | m.PROT_WRITE;
const ANON = m.MAP_PRIVATE | m.MAP_ANONYMOUS | m.MAP_FIXED;
const FIXED = m.MREMAP_MAYMOVE | m.MREMAP_FIXED;
const DONTUNMAP = FIXED | m.MREMAP_DONTUNMAP;

function map(user: User, first: number, count: number, prot = RW): void {
  const address = user.run(user.process.mmap(at(first), pages(count), { prot, flags: ANON }));
  expect(address).toBe(at(first));
}

function to(page: number, flags = FIXED): { flags: number; newAddress: number } {
  return { flags, newAddress: at(page) };
}

function toldByMprotect(mprotectRange: Behaviour['mprotectRange']): string[] {
  const user = new User({ mprotectRange });
  map(user, GIB - 1024, 2048);
  user.listen();
  user.run(user.process.store(at(GIB - 1), 1));
  user.run(user.process.store(at(GIB + 1), 1));
  user.run(user.process.mprotect(at(GIB - 1024), pages(2048), m.PROT_READ));
  return user.heard();
}

test('mprotectRange: one range for the VMA, or one for each GiB from its first populated part on', () => {
  expect(toldByMprotect('vma')).toEqual([`${GIB - 1024}-${GIB + 1024}`]);
  expect(toldByMprotect('pud')).toEqual([`${GIB - 512}-${GIB}`, `${GIB}-${GIB + 1024}`]);
});

function movedOver(mremapSeveralVmas: boolean): [string, string[]] {
  const user = new User({ mremapSeveralVmas });
  map(user, 0, 1);
  map(user, 1, 1, m.PROT_READ);
  const error = user.error(user.process.mremap(at(0), pages(2), pages(2), to(8)));
  return [error, user.vmas()];
}

test('mremapSeveralVmas: a move of the same length takes several VMAs along, or fails', () => {
  expect(movedOver(true)).toEqual(['ok', ['8-9', '9-10']]);
  expect(movedOver(false)).toEqual(['EFAULT', ['0-1', '1-2']]);
});

function leftByFailure(mremapUnmapsBeforeChecks: boolean): string[] {
  const user = new User({ mremapUnmapsBeforeChecks });
  map(user, 0, 1);
  map(user, 1, 2, m.PROT_READ);
  map(user, 8, 2);
  const call = user.process.mremap(at(0), pages(3), pages(2), to(8));
  expect(user.error(call)).toBe('EFAULT');
  return user.vmas();
}

test('mremapUnmapsBeforeChecks: a move that fails has unmapped the target and the tail, or nothing', () => {
  expect(leftByFailure(false)).toEqual(['0-1', '1-3', '8-10']);
  expect(leftByFailure(true)).toEqual(['0-1', '1-2']);
});

/** A page of a file is moved by one thread, while another truncates the file and then looks. */
function moveBesideTruncate(mremapFlushesUnderLock: boolean) {
  const shared = { flags: m.MAP_SHARED | m.MAP_FIXED };
  return defineScenario<{ process: Process; fd: number }>({
    name: 'mremap-beside-truncate',
    variants: { v: {} },
    setup(machine) {
      setBehaviour(machine, { mremapFlushesUnderLock });
      const process = machine.process();
      const fd = machine.runNow(process.memfdCreate('file'));
      machine.runNow(process.ftruncate(fd, pages(1)));
      machine.runNow(process.mmap(at(0), pages(1), { ...shared, fd }));
      machine.runNow(process.store(at(0), 1));
      return { process, fd };
    },
    tasks: {
      mremap: {
        cpu: 0,
        *run({ process }) {
          yield* process.mremap(at(0), pages(1), pages(1), to(8));
        },
      },
      truncate: {
        cpu: 1,
        *run({ process, fd }) {
          yield* process.load(at(0));
          yield* process.ftruncate(fd, 0);
          yield* process.load(at(0));
        },
      },
    },
  });
}

function foundBeside(flushesUnderLock: boolean): string[] {
  const messages = new Set<string>();
  const program = programOf(moveBesideTruncate(flushesUnderLock), 'v');
  const { isComplete } = new SourceDpor(program, {
    watches: allDetectors(),
    onExecution({ kernel }) {
      for (const { kind, object } of kernel.findings) messages.add(`${kind} of ${object}`);
      return false;
    },
  }).run();
  expect(isComplete).toBe(true);
  return [...messages];
}

test('mremapFlushesUnderLock: without it, a CPU goes on reading a page that was freed', () => {
  expect(foundBeside(true)).toEqual([]);
  expect(foundBeside(false)).toEqual(['invariant of page', 'use-after-free of page']);
});

function leftLocked(dontunmapSplitsLocked: boolean): string[] {
  const user = new User({ dontunmapSplitsLocked });
  map(user, 0, 4);
  user.run(user.process.mlock(at(0), pages(4)));
  user.run(user.process.mremap(at(0), pages(1), pages(1), to(8, DONTUNMAP)));
  return user.vmas();
}

test('dontunmapSplitsLocked: the moved part, or all of the VMA, is locked no longer', () => {
  expect(leftLocked(false)).toEqual(['0-4', '8-9']);
  expect(leftLocked(true)).toEqual(['0-1', '1-4', '8-9']);
});

function leftEmpty(dontunmapResetsOffset: boolean): string[] {
  const user = new User({ dontunmapResetsOffset });
  map(user, 0, 1);
  user.run(user.process.store(at(0), 1));
  user.run(user.process.mremap(at(0), pages(1), pages(1), to(4)));
  user.run(user.process.mremap(at(4), pages(1), pages(1), to(8, DONTUNMAP)));
  map(user, 5, 1);
  return user.vmas();
}

test('dontunmapResetsOffset: what is left empty fits its new neighbours, or never does', () => {
  expect(leftEmpty(false)).toEqual(['4-5', '5-6', '8-9']);
  expect(leftEmpty(true)).toEqual(['4-6', '8-9']);
});

function leftMerged(mergesFaultedIntoUnfaulted: boolean, touched: number): string[] {
  const user = new User({ mergesFaultedIntoUnfaulted });
  map(user, 0, 1);
  map(user, 1, 1, RW | m.PROT_EXEC);
  user.run(user.process.store(at(touched), 1));
  user.run(user.process.mprotect(at(1), pages(1), RW));
  return user.vmas();
}

test('mergesFaultedIntoUnfaulted: the VMA that stays takes over an anon_vma, or must have it', () => {
  expect(leftMerged(true, 1)).toEqual(['0-2']);
  expect(leftMerged(false, 1)).toEqual(['0-1', '1-2']);
  // The left one stays: that it has one is fine in either case.
  expect(leftMerged(true, 0)).toEqual(['0-2']);
  expect(leftMerged(false, 0)).toEqual(['0-2']);
});

function canReadMeanwhile(munmapDowngrades: boolean): boolean {
  const user = new User({ munmapDowngrades });
  const mm = user.process.mm as MmStruct;
  let isReadable = false;
  const mn = allocateStatic(user.machine, MmuNotifier);
  mn.ops = {
    invalidateRangeStart: fn(function* tryRead() {
      isReadable = yield* downReadTrylock(mm.mmapSem);
      if (isReadable) yield* upRead(mm.mmapSem);
      return 0;
    }),
  };
  map(user, 0, 1);
  user.run(mmuNotifierRegister(mn, mm));
  user.run(user.process.munmap(at(0), pages(1)));
  return isReadable;
}

test('munmapDowngrades: while pages go, readers of mmap_sem come in, or do not', () => {
  expect(canReadMeanwhile(true)).toBe(true);
  expect(canReadMeanwhile(false)).toBe(false);
});

function heardOfCopy(changePte: boolean): string[] {
  const user = new User({ changePte });
  const log: string[] = [];
  const mn = allocateStatic(user.machine, MmuNotifier);
  mn.ops = {
    invalidateRangeStart: fn(function* start() {
      log.push('start');
      return 0;
    }),
    invalidateRangeEnd: fn(function* end() {
      log.push('end');
    }),
    changePte: fn(function* change(_mn: MmuNotifier, _mm: MmStruct, address: number) {
      log.push(`change_pte ${(address - BASE) / 4096}`);
    }),
  };
  map(user, 0, 2);
  user.run(user.process.load(at(1)));
  user.run(mmuNotifierRegister(mn, user.process.mm!));
  user.run(user.process.store(at(1), 1));
  return log;
}

test('changePte: a copy on write tells the new entry, between start and end, or does not', () => {
  expect(heardOfCopy(false)).toEqual(['start', 'end']);
  expect(heardOfCopy(true)).toEqual(['start', 'change_pte 1', 'end']);
});

test('a kernel of v5.4 has the old position of what has changed since', () => {
  const changed = Object.keys(LINUX_6_18).filter(
    (key) => LINUX_6_18[key as keyof Behaviour] !== LINUX_5_4[key as keyof Behaviour],
  );
  expect(changed).toEqual([
    'mprotectRange',
    'mremapSeveralVmas',
    'mremapUnmapsBeforeChecks',
    'emptyMoveNotifies',
    'mergesFaultedIntoUnfaulted',
    'changePte',
    'invalidateRange',
    'fileCollapseNotifies',
    'migrateEvent',
    'deviceExclusive',
    'unmapMappingLock',
    'pfnmapFlushesBeforeUnlink',
    'softDirtyDowngrades',
  ]);
});

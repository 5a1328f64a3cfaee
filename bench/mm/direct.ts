/** Direct mode: page faults, and pairs of map and unmap. */
import * as mman from '../../src/base/mman.ts';
import { runDirect } from '../../src/kernel/direct.ts';
import { bootMachine } from '../../src/mm/machine.ts';
import { rates, type BenchResult, type Contestant, type RateOptions } from './measure.ts';

const PAGE = 4096;
const AREA = 0x1_0000_0000;
const AREA_PAGES = 1024;
const PRIVATE = mman.MAP_PRIVATE | mman.MAP_ANONYMOUS | mman.MAP_FIXED;

function setting() {
  const machine = bootMachine();
  return { machine, process: machine.process() };
}

/** Goes through an area again and again, and empties it after each time: that is part of the cost. */
function faults(
  name: string,
  prepare: (at: number) => void,
  touch: (at: number) => void,
): Contestant {
  let at = AREA_PAGES;
  return {
    name,
    run(count) {
      for (let done = 0; done < count; done += 1) {
        if (at === AREA_PAGES) {
          prepare(AREA);
          at = 0;
        }
        touch(AREA + at * PAGE);
        at += 1;
      }
    },
  };
}

function anonymousFaults(): Contestant {
  const { machine, process } = setting();
  runDirect(machine, process.mmap(AREA, AREA_PAGES * PAGE, { flags: PRIVATE }));
  return faults(
    'write fault, anonymous',
    (at) => runDirect(machine, process.madvise(at, AREA_PAGES * PAGE, mman.MADV_DONTNEED)),
    (at) => runDirect(machine, process.store(at, 1)),
  );
}

function zeroPageFaults(): Contestant {
  const { machine, process } = setting();
  runDirect(machine, process.mmap(AREA, AREA_PAGES * PAGE, { flags: PRIVATE }));
  return faults(
    'read fault, zero page',
    (at) => runDirect(machine, process.madvise(at, AREA_PAGES * PAGE, mman.MADV_DONTNEED)),
    (at) => runDirect(machine, process.load(at)),
  );
}

/** Without calls in between: what a fault costs inside one call. */
function populated(): Contestant {
  const { machine, process } = setting();
  runDirect(machine, process.mmap(AREA, AREA_PAGES * PAGE, { flags: PRIVATE }));
  return {
    name: 'write fault, populated by one call',
    run(count) {
      for (let done = 0; done < count; done += AREA_PAGES) {
        const pages = Math.min(AREA_PAGES, count - done);
        runDirect(machine, process.madvise(AREA, pages * PAGE, mman.MADV_DONTNEED));
        runDirect(machine, process.madvise(AREA, pages * PAGE, mman.MADV_POPULATE_WRITE));
      }
    },
  };
}

/** Copies of a page that parent and child share. */
function copyOnWrite(): Contestant {
  const { machine, process } = setting();
  const fd = runDirect(machine, process.memfdCreate('f'));
  runDirect(machine, process.ftruncate(fd, AREA_PAGES * PAGE));
  for (let page = 0; page < AREA_PAGES; page += 1) {
    runDirect(machine, process.pwrite(fd, [1], page * PAGE));
  }
  const flags = mman.MAP_PRIVATE | mman.MAP_FIXED;
  runDirect(machine, process.mmap(AREA, AREA_PAGES * PAGE, { flags, fd }));
  return faults(
    'write fault, copy of a file page',
    (at) => {
      runDirect(machine, process.madvise(at, AREA_PAGES * PAGE, mman.MADV_DONTNEED));
      runDirect(machine, process.madvise(at, AREA_PAGES * PAGE, mman.MADV_POPULATE_READ));
    },
    (at) => runDirect(machine, process.store(at, 1)),
  );
}

function mapUnmap(name: string, others: number, touches: boolean): Contestant {
  const { machine, process } = setting();
  // Neighbours that differ in their rights, so that they stay apart.
  for (let at = 0; at < others; at += 1) {
    const prot = at % 2 === 0 ? mman.PROT_READ : mman.PROT_NONE;
    runDirect(machine, process.mmap(AREA + (at + 16) * PAGE, PAGE, { flags: PRIVATE, prot }));
  }
  return {
    name,
    run(count) {
      for (let done = 0; done < count; done += 1) {
        runDirect(machine, process.mmap(AREA, 4 * PAGE, { flags: PRIVATE }));
        if (touches) runDirect(machine, process.store(AREA, 1));
        runDirect(machine, process.munmap(AREA, 4 * PAGE));
      }
    },
  };
}

export function run(options: RateOptions): readonly BenchResult[] {
  const contestants = [
    anonymousFaults(),
    zeroPageFaults(),
    populated(),
    copyOnWrite(),
    mapUnmap('map and unmap', 0, false),
    mapUnmap('map, touch and unmap', 0, true),
    mapUnmap('map and unmap among 10,000 mappings', 10_000, false),
  ];
  return rates(contestants, options);
}

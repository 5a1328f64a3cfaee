/** What scenarios of gntdev share: another domain that grants two frames, and a program that maps them. */
import { MAP_SHARED } from '../../base/mman.ts';
import type { KnownViolation } from '../../check/scenario.ts';
import {
  GNTDEV_PATH,
  gntdevAllocatesLocked,
  gntdevAsync,
  gntdevFixed,
  gntdevInitialisedAuto,
  gntdevV53,
  gntdevV55,
  gntdevV55Auto,
  IOCTL_GNTDEV_MAP_GRANT_REF,
  IOCTL_GNTDEV_UNMAP_GRANT_REF,
  xenEndAccess,
  xenGrantAccess,
} from '../../drivers/gntdev/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

export const ADDRESS = 0x40_0000;
/** Other memory of the program. */
export const PLAIN = 0x48_0000;
/** What the other domain has written to its frames. */
export const GRANTED = [11, 12] as const;

const MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3': gntdevV53,
  'A-15': gntdevAllocatesLocked,
  'v5.5': gntdevV55,
  'v5.5-auto': gntdevV55Auto,
  'initialised-auto': gntdevInitialisedAuto,
  async: gntdevAsync,
  fixed: gntdevFixed,
};

/** The module that a variant is about. */
export function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

export const CLEAN = { verdict: 'clean' } as const;

/** munmap comes to an entry that Xen was to have taken away. */
export const BAD_PAGE = {
  verdict: 'violation',
  kind: 'warn',
  object: 'page_mapcount(page) < 0',
} as const;

/** What follows: the page is let go of once too often, and Xen refuses what it is asked for. */
export function afterwards(name: string): readonly KnownViolation[] {
  return (['warn', 'use-after-free', 'double-free'] as const).map((kind) => ({ name, kind }));
}

export const LEFT_BEHIND = afterwards('A-151');

export interface GntdevState {
  readonly process: Process;
  /** Pinned until {@link finish}. */
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
  /** The map's offset for mmap. */
  readonly offset: number;
  readonly count: number;
}

interface SetUp {
  readonly module: ModuleType;
  /** Grants in the map. */
  readonly count?: 1 | 2;
  /** How far it is: the file is open, there is a map, or it is mapped and the program has used it. */
  readonly stage?: 'open' | 'map' | 'mapped';
}

/** The grants of the first map, for the ioctl. */
export function refsOf(count: number): readonly number[] {
  return Array.from({ length: count }, (_, ref) => ref);
}

/** Makes a map: its offset or -errno. */
export function mapGrants({ process, fd }: GntdevState, refs: readonly number[]) {
  return process.ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, refs);
}

/** Maps it: the address or -errno. */
export function mmapGrants({ process, fd, offset, count }: GntdevState, address = ADDRESS) {
  return process.mmap(address, count * PAGE_SIZE, { fd, flags: MAP_SHARED, offset });
}

/** Lets mmap find it no more. */
export function unmapGrants({ process, fd, offset, count }: GntdevState) {
  return process.ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, { offset, count });
}

/** For set-up. */
export function prepare(
  machine: Machine,
  { module, count = 1, stage = 'mapped' }: SetUp,
): GntdevState {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  for (let ref = 0; ref < count; ref += 1) {
    machine.runNow(xenGrantAccess(ref, GRANTED[ref] as number));
  }
  // So that there are page tables, which the mapping shares.
  machine.runNow(process.mmap(PLAIN, PAGE_SIZE));
  machine.runNow(process.store(PLAIN, 1));
  machine.load(module);
  const fd = machine.runNow<number>(process.open(GNTDEV_PATH));
  const opened = { process, mm, module, fd, offset: 0, count };
  if (stage === 'open') return opened;
  const offset = machine.runNow<number>(mapGrants(opened, refsOf(count)));
  const state = { ...opened, offset };
  if (stage === 'mapped') machine.runNow(mmapGrants(state));
  return state;
}

const GIVEN_BACK = 'the other domain gets its frame back';

/** For `finally`: the program ends, and the other domain takes its frames back. */
export function* finish({ process, mm, count }: GntdevState): Body<void> {
  yield* process.exit();
  yield* mmdrop(mm);
  for (let ref = 0; ref < count; ref += 1) warnOn((yield* xenEndAccess(ref)) !== 0, GIVEN_BACK);
}

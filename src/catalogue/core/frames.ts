/**
 * K9: frames that a driver maps into processes and takes back, beside munmap. Nobody counts who maps them: the
 * driver uses them for something else when unmap_mapping_range has returned.
 *
 *   CPU0 munmap                             CPU1 evict
 *   takes the mapping out of the tree
 *   clears the entry
 *   takes it out of the file's mappings
 *                                           unmap_mapping_range: nobody maps it
 *                                           the frame is given away
 *   flushes the TLBs
 */
import { MAP_FIXED, MAP_SHARED } from '../../base/mman.ts';
import {
  APERTURE_DEVICE,
  APERTURE_IOC_EVICT,
  APERTURE_IOC_TRIM,
  apertureModule,
} from '../../drivers/aperture/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { setBehaviour } from '../../mm/behaviour.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS } from './subject.ts';

const FLAGS = MAP_SHARED | MAP_FIXED;

interface State {
  readonly process: Process;
  /** Of the process, for the device. */
  readonly fd: number;
  /** Another process that has the device open. */
  readonly other: Process;
  readonly otherFd: number;
}

/** The first buffer is mapped, and in the TLB of CPU 0. */
function withBuffer(machine: Machine, variant: string): State {
  setBehaviour(machine, { pfnmapFlushesBeforeUnlink: variant !== 'v5.18' });
  machine.load(apertureModule as unknown as ModuleType);
  const process = machine.process();
  const other = machine.process();
  const fd = machine.runNow(process.open(APERTURE_DEVICE));
  const otherFd = machine.runNow(other.open(APERTURE_DEVICE));
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE, { flags: FLAGS, fd }));
  machine.runNow(process.store(ADDRESS, 1));
  return { process, fd, other, otherFd };
}

const munmap = {
  cpu: 1,
  *run({ process }: State) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
};

export const unmapMapping = defineScenario<State>({
  name: 'unmap-mapping',
  models: ['K9', 'I8a'],
  about:
    'a driver takes a frame back and frees it, while a thread unmaps it and another one writes',
  variants: {
    'v5.18': {
      about:
        'unmap_mapping_range finds no mapping, and a TLB still has the frame: munmap has not flushed it yet (CVE-2022-39188)',
      expect: { verdict: 'violation', kind: 'invariant', object: 'page', invariant: 'I8a' },
      alsoKnown: [{ name: 'a CPU writes to it', kind: 'use-after-free', object: 'page' }],
    },
    'fixed-v5.19': {
      about:
        'b67fbebd4cf9: munmap flushes such mappings before it lets the driver lose sight of them',
      expect: { verdict: 'clean' },
    },
  },
  setup: withBuffer,
  tasks: {
    munmap,
    evict: {
      cpu: 2,
      *run({ process, fd }) {
        yield* process.ioctl(fd, APERTURE_IOC_EVICT, 0);
        yield* process.ioctl(fd, APERTURE_IOC_TRIM);
      },
    },
    store: {
      cpu: 0,
      *run({ process }) {
        goal((yield* process.store(ADDRESS, 2)) === 0 ? 'written' : 'there is nothing any more');
      },
    },
  },
  goals: ['written', 'there is nothing any more'],
});

export const unmapMappingReuse = defineScenario<State>({
  ...unmapMapping,
  name: 'unmap-mapping-reuse',
  about: 'the same without freeing: the frame of one process is given to another one',
  variants: {
    'v5.18': {
      about: 'the first process still reaches what the other one has now',
      expect: { verdict: 'violation', kind: 'invariant', object: 'page', invariant: 'I8a' },
    },
    'fixed-v5.19': unmapMapping.variants['fixed-v5.19']!,
  },
  tasks: {
    munmap,
    reuse: {
      cpu: 2,
      *run({ other, otherFd }) {
        yield* other.ioctl(otherFd, APERTURE_IOC_EVICT, 0);
        const options = { flags: FLAGS, fd: otherFd, offset: PAGE_SIZE };
        if ((yield* other.mmap(ADDRESS, PAGE_SIZE, options)) > 0) goal('given to the other one');
      },
    },
  },
  goals: ['given to the other one'],
});

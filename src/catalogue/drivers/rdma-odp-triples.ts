/**
 * RDMA on-demand paging: regions of all memory beside what else can happen, and three things at once.
 */
import { EACCES } from '../../base/errno.ts';
import { MADV_DONTNEED } from '../../base/mman.ts';
import type { Variant } from '../../check/scenario.ts';
import {
  DEREG_MR,
  rdmaFixed,
  rdmaFixedZapping,
  rdmaRead,
  rdmaSeries,
  rdmaV54ListsLast,
  rdmaWrite,
} from '../../drivers/rdma-odp/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { Body } from '../../kernel/operation.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  dereg,
  EXPLICIT,
  IMPLICIT,
  prepare,
  unpin,
  type Rdma,
} from './rdma-odp-subject.ts';

const WRITTEN = 7;

const ACTIONS: Readonly<Record<string, (state: Rdma) => Body<unknown>>> = {
  *dereg({ process, fd, key }) {
    yield* process.ioctl(fd, DEREG_MR, key);
  },
  *access({ nic, key }) {
    yield* rdmaWrite(nic, { key, address: ADDRESS }, WRITTEN);
  },
  *munmap({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
  *dontneed({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  *exit({ process }) {
    yield* process.exit();
  },
};

function act(state: Rdma, variant: string, which: 0 | 1 | 2): Body<unknown> {
  const name = variant.split('+')[which] as string;
  return (ACTIONS[name] as (typeof ACTIONS)[string])(state);
}

const CLEAN: Variant = { expect: { verdict: 'clean' } };
const BOUNDED: Variant = { preemptions: 2, expect: { verdict: 'bounded' } };

export const odpImplicitPairs = defineScenario<Rdma>({
  name: 'odp-implicit-pairs',
  models: ['patch 6', 'B-11', 'B-12', 'B-13'],
  about: 'two of what can happen to a region of all memory that has a child, side by side',
  variants: {
    'access+munmap': CLEAN,
    'access+dontneed': CLEAN,
    'access+reclaim': BOUNDED,
    'access+dereg': CLEAN,
    'dereg+munmap': CLEAN,
    'dereg+reclaim': CLEAN,
    'dereg+exit': CLEAN,
    'munmap+exit': CLEAN,
  },
  // With all that was mended later: the bugs have scenarios of their own.
  setup: (machine) => prepare(machine, rdmaFixed, { region: IMPLICIT, isMapped: true }),
  tasks: {
    first: {
      *run(state, variant) {
        yield* act(state, variant, 0);
        goal('the first is done');
      },
    },
    second: {
      *run(state, variant) {
        yield* act(state, variant, 1);
        goal('the second is done');
      },
    },
  },
  goals: ['the first is done', 'the second is done'],
  finally: unpin,
});

export const odpTriples = defineScenario<Rdma>({
  name: 'odp-triples',
  models: ['patch 6'],
  about: 'three of what can happen to a process with a region, side by side',
  variants: {
    'access+dereg+munmap': BOUNDED,
    'access+munmap+exit': BOUNDED,
    'dereg+munmap+exit': BOUNDED,
  },
  setup: (machine) => prepare(machine, rdmaSeries, { region: EXPLICIT, isMapped: true }),
  tasks: {
    first: {
      *run(state, variant) {
        yield* act(state, variant, 0);
        goal('the first is done');
      },
    },
    second: {
      *run(state, variant) {
        yield* act(state, variant, 1);
        goal('the second is done');
      },
    },
    third: {
      *run(state, variant) {
        yield* act(state, variant, 2);
        goal('the third is done');
      },
    },
  },
  goals: ['the first is done', 'the second is done', 'the third is done'],
  finally: unpin,
});

const ZAP = { 'v5.4': rdmaV54ListsLast, zapping: rdmaFixedZapping } as const;

export const odpLateZap = defineScenario<Rdma>({
  name: 'odp-late-zap',
  models: ['A-52'],
  about:
    'a region of all memory is deregistered while a page is unmapped, which the remote side then reads',
  variants: {
    'v5.4': {
      about: 'its children leave the tree while the adapter still has their pages',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' },
    },
    zapping: {
      about: "each child's entries are taken away before its pages are forgotten (ours)",
      expect: { verdict: 'bounded' },
    },
  },
  preemptions: 1,
  setup: (machine, variant) =>
    prepare(machine, ZAP[variant as keyof typeof ZAP], { region: IMPLICIT, isMapped: true }),
  tasks: {
    dereg,
    late: {
      *run({ nic, process, key }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        const found = yield* rdmaRead(nic, { key, address: ADDRESS });
        if (found === -EACCES) goal('the remote side is refused');
      },
    },
  },
  goals: ['the remote side is refused'],
  finally: unpin,
});

/**
 * RDMA on-demand paging: regions of all memory beside what else can happen, and three things at once.
 */
import { EACCES } from '../../base/errno.ts';
import type { Variant } from '../../check/scenario.ts';
import {
  rdmaFixed,
  rdmaFixedZapping,
  rdmaReadUnpaged,
  rdmaSeries,
  rdmaV54ListsLast,
  rdmaV614Unmapping,
} from '../../drivers/rdma-odp/index.ts';
import { goal } from '../../kernel/choose.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { sideBySide } from './pairs.ts';
import { ACTIONS } from './rdma-odp-actions.ts';
import {
  ADDRESS,
  dereg,
  EXPLICIT,
  IMPLICIT,
  prepare,
  setUpWith,
  unpin,
  type Rdma,
} from './rdma-odp-subject.ts';

const CLEAN: Variant = { expect: { verdict: 'clean' } };

export const odpImplicitPairs = defineScenario<Rdma>({
  name: 'odp-implicit-pairs',
  models: ['patch 6', 'B-11', 'B-12', 'B-13'],
  about: 'two of what can happen to a region of all memory that has a child, side by side',
  variants: {
    'access+munmap': CLEAN,
    'access+dontneed': CLEAN,
    'access+reclaim': CLEAN,
    'access+dereg': CLEAN,
    'dereg+munmap': CLEAN,
    'dereg+reclaim': CLEAN,
    'dereg+exit': CLEAN,
    'munmap+exit': CLEAN,
  },
  // With all that was mended later: the bugs have scenarios of their own.
  setup: (machine) => prepare(machine, rdmaFixed, { region: IMPLICIT, isMapped: true }),
  ...sideBySide(ACTIONS, 'first', 'second'),
  finally: unpin,
});

export const odpTriples = defineScenario<Rdma>({
  name: 'odp-triples',
  models: ['patch 6'],
  about: 'three of what can happen to a process with a region, side by side',
  variants: {
    'access+dereg+munmap': CLEAN,
    'access+munmap+exit': CLEAN,
    'dereg+munmap+exit': CLEAN,
  },
  setup: (machine) => prepare(machine, rdmaSeries, { region: EXPLICIT, isMapped: true }),
  ...sideBySide(ACTIONS, 'first', 'second', 'third'),
  finally: unpin,
});

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
      expect: { verdict: 'clean' },
    },
    'v6.14': {
      about: "the region's key goes first, and with it the way to its children",
      expect: { verdict: 'clean' },
    },
  },
  setup: setUpWith(
    { 'v5.4': rdmaV54ListsLast, zapping: rdmaFixedZapping, 'v6.14': rdmaV614Unmapping },
    { region: IMPLICIT, isMapped: true },
  ),
  tasks: {
    dereg,
    late: {
      *run({ nic, process, key }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        const found = yield* rdmaReadUnpaged(nic, { key, address: ADDRESS });
        if (found === -EACCES) goal('the remote side is refused');
      },
    },
  },
  goals: ['the remote side is refused'],
  finally: unpin,
});

/**
 * What was wrong with v5.3-rc1's vhost, each mistake as it was published (B-40 a to g), and one that was not.
 *
 * Who drives it: a program by system calls, the worker that a kick wakes, and whoever takes pages.
 */
import { MADV_DONTNEED, MADV_FREE } from '../../base/mman.ts';
import { VHOST_DEBUG_INVALIDATING, VHOST_SET_OWNER } from '../../drivers/vhost/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { PROT_READ } from '../../base/mman.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESSES,
  CLEAN,
  ENTRIES,
  IDX,
  moduleOf,
  prepare,
  RING,
  setAddresses,
  unpin,
  USED,
  type VhostState,
} from './vhost-subject.ts';

/** Every map that is taken away is leaked: B-40c. */
const LEAKED = { name: 'B-40c', kind: 'leak', object: 'vhost_map' } as const;

/** Who finds no map waits for nobody: see vhost-two-invalidations. */
const NOT_WAITED = [
  { name: 'A-95', kind: 'use-after-free', object: 'page' },
  { name: 'A-95', kind: 'invariant', object: 'page' },
] as const;

const ownerFails = defineScenario<VhostState>({
  name: 'vhost-register-fails',
  models: ['B-40a', 'C10'],
  about:
    'the notifier cannot be registered, for want of memory or by a signal, at first or when the ring moves; then all is closed',
  variants: {
    'v5.3-rc': {
      about:
        'when the ring moves nobody looks whether it was registered, and unregistering drops a pin of the mm that was never taken',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'mm_struct' },
    },
    fixed: { expect: CLEAN },
    interval: { expect: CLEAN },
  },
  faults: { allocations: 1, signals: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), stage: 'open' }),
  tasks: {
    program: {
      *run(state) {
        const { process, fd } = state;
        if ((yield* process.ioctl(fd, VHOST_SET_OWNER)) < 0) goal('no owner');
        if ((yield* setAddresses(state, ADDRESSES)) < 0) goal('no ring');
        yield* process.close(fd);
      },
    },
  },
  goals: ['no ring'],
  *finally(state) {
    yield* unpin(state);
    yield* state.process.exit();
  },
});

const recount = defineScenario<VhostState>({
  name: 'vhost-recount',
  models: ['B-40b', 'I7'],
  about: 'the ring moves while its pages are being dropped; then nothing is going on any more',
  variants: {
    'v5.3-rc': {
      about:
        'the start is counted, the end is not: the notifier was registered anew; the ring is copied for ever',
      expect: { verdict: 'violation', kind: 'warn', object: 'invalidate_count' },
    },
    fixed: { about: 'the counter begins anew with the notifier', expect: CLEAN },
    interval: { about: 'no counter', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), stage: 'ready' }),
  tasks: {
    move: {
      *run(state) {
        yield* setAddresses(state, ADDRESSES);
        goal('moved');
      },
    },
    drop: {
      *run({ process }) {
        yield* process.madvise(USED, PAGE_SIZE, MADV_DONTNEED);
        goal('dropped');
      },
    },
  },
  goals: ['moved', 'dropped'],
  *finally(state) {
    const { process, fd } = state;
    const count = yield* process.ioctl(fd, VHOST_DEBUG_INVALIDATING);
    warnOn(count !== 0, 'invalidate_count');
    yield* unpin(state);
  },
});

const leak = defineScenario<VhostState>({
  name: 'vhost-map-leak',
  models: ['B-40c'],
  about: 'the ring moves after it has been used',
  variants: {
    'v5.3-rc': {
      about: 'nobody frees a map',
      expect: { verdict: 'violation', kind: 'leak', object: 'vhost_map' },
    },
    fixed: { expect: CLEAN },
    interval: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    move: {
      *run(state) {
        if ((yield* setAddresses(state, ADDRESSES)) === 0) goal('moved');
      },
    },
  },
  goals: ['moved', { name: 'the worker was there', calls: 'handle_tx' }],
  *finally(state) {
    yield* state.process.close(state.fd);
    yield* unpin(state);
  },
});

const dirty = defineScenario<VhostState>({
  name: 'vhost-dirty-lost',
  models: ['B-40d'],
  about:
    'the worker writes to a page of which the program had said that it may be dropped until it is written',
  variants: {
    'v5.3-rc': {
      about: 'the ring moves, and nobody says that the page was written: it is dropped',
      expect: {
        verdict: 'violation',
        kind: 'warn',
        object: 'what the worker has written is there',
      },
      alsoKnown: [LEAKED],
    },
    fixed: { expect: CLEAN },
    interval: { expect: CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant) });
    machine.runNow(state.process.madvise(USED, PAGE_SIZE, MADV_FREE));
    return state;
  },
  tasks: {
    move: {
      *run(state) {
        const { process, mm } = state;
        yield* setAddresses(state, ADDRESSES);
        if ((yield* process.load(USED + IDX)) !== 1) return;
        goal('the worker has answered');
        yield* reclaimPage(mm, USED, true);
        warnOn((yield* process.load(USED + IDX)) !== 1, 'what the worker has written is there');
      },
    },
  },
  goals: ['the worker has answered'],
  *finally(state) {
    yield* state.process.close(state.fd);
    yield* unpin(state);
  },
});

/** The used ring begins at the end of a page: index there, entries on the next. */
const ACROSS = {
  desc: RING + 2 * PAGE_SIZE,
  avail: RING + 2 * PAGE_SIZE + 0x100,
  used: USED - ENTRIES,
};

/** The second thread has looked at the index, and the worker had not answered yet. */
interface SeenOld extends VhostState {
  isOld: boolean;
}

const dirtyEarly = defineScenario<SeenOld>({
  name: 'vhost-dirty-early',
  models: ['B-40e'],
  about:
    'one thread drops the second page of the used ring, another says of the first that it may be dropped until it is written',
  preemptions: 2,
  variants: {
    'v5.3-rc': {
      about: 'the page is marked before the worker has written, and not afterwards',
      expect: {
        verdict: 'violation',
        kind: 'warn',
        object: 'what the worker has written is there',
      },
      alsoKnown: [LEAKED, ...NOT_WAITED],
    },
    fixed: { expect: { verdict: 'bounded' } },
    interval: { expect: { verdict: 'bounded' } },
  },
  setup: (machine, variant) => ({
    ...prepare(machine, { module: moduleOf(variant), pages: 3, addresses: ACROSS }),
    isOld: false,
  }),
  tasks: {
    drop: {
      *run({ process }) {
        yield* process.madvise(USED, PAGE_SIZE, MADV_DONTNEED);
      },
    },
    free: {
      *run(state) {
        const { process } = state;
        yield* process.madvise(RING, PAGE_SIZE, MADV_FREE);
        state.isOld = (yield* process.load(ACROSS.used + IDX)) === 0;
      },
    },
  },
  goals: ['the worker has answered since'],
  *finally(state) {
    const { process, mm, fd } = state;
    const idx = ACROSS.used + IDX;
    if (state.isOld && (yield* process.load(idx)) === 1) {
      goal('the worker has answered since');
      yield* reclaimPage(mm, RING, true);
      warnOn((yield* process.load(idx)) !== 1, 'what the worker has written is there');
    }
    yield* process.close(fd);
    yield* unpin(state);
  },
});

const OTHER = RING + 2 * PAGE_SIZE;

const refused = defineScenario<VhostState>({
  name: 'vhost-refused',
  models: ['B-40f'],
  about:
    'the program asks for a used ring that is not aligned, is refused, and goes on with the old one',
  variants: {
    'v5.3-rc': {
      about: 'what was refused is mapped all the same, and the worker writes there',
      expect: {
        verdict: 'violation',
        kind: 'warn',
        object: 'the worker writes where it was told to',
      },
      alsoKnown: [LEAKED],
    },
    fixed: { expect: CLEAN },
    interval: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), pages: 3 }),
  tasks: {
    move: {
      *run(state) {
        const error = yield* setAddresses(state, { ...ADDRESSES, used: OTHER + 2 });
        if (error !== 0) goal('refused');
      },
    },
  },
  goals: ['refused'],
  *finally(state) {
    const { process, fd } = state;
    const written = yield* process.load(USED + IDX);
    warnOn(written !== 1, 'the worker writes where it was told to');
    yield* process.close(fd);
    yield* unpin(state);
  },
});

const FAR = RING + 16 * PAGE_SIZE;

const reaper = defineScenario<VhostState>({
  name: 'vhost-reaper',
  models: ['B-40g', 'C11'],
  about: 'the OOM reaper comes for a program with a ring, and with other memory',
  variants: {
    'v5.3-rc': {
      about: 'nothing is reaped, whether or not the device has to do with it',
      expect: {
        verdict: 'violation',
        kind: 'warn',
        object: 'the reaper takes what is not of the ring',
      },
      alsoKnown: [LEAKED],
    },
    fixed: { about: 'even the ring: nothing blocks', expect: CLEAN },
    interval: { about: 'the same', expect: CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant), stage: 'mapped' });
    machine.runNow(state.process.mmap(FAR, PAGE_SIZE));
    machine.runNow(state.process.store(FAR, 1));
    return state;
  },
  tasks: {
    reaper: {
      *run({ mm }) {
        yield* oomReapTaskMm(mm);
        goal('reaped');
      },
    },
  },
  goals: ['reaped'],
  *finally(state) {
    const { process, fd } = state;
    warnOn((yield* process.load(FAR)) >= 0, 'the reaper takes what is not of the ring');
    yield* process.close(fd);
    yield* unpin(state);
  },
});

const twice = defineScenario<VhostState>({
  name: 'vhost-two-invalidations',
  models: ['A-95'],
  about:
    'the page of the used ring is reclaimed while mprotect has taken its map away and waits for the worker',
  variants: {
    'v5.3-rc': {
      about:
        'the second invalidation finds no map, so it does not wait: the worker writes to a page that is free',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' },
      alsoKnown: [LEAKED, ...NOT_WAITED],
    },
    fixed: { expect: CLEAN },
    interval: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    mprotect: {
      *run({ process }) {
        yield* process.mprotect(USED, PAGE_SIZE, PROT_READ);
      },
    },
    reclaim: {
      *run({ mm }) {
        if (yield* reclaimPage(mm, USED, true)) goal('reclaimed');
      },
    },
  },
  goals: ['reclaimed'],
  *finally(state) {
    yield* state.process.close(state.fd);
    yield* unpin(state);
  },
});

export const VHOST_BUGS = [ownerFails, recount, leak, dirty, dirtyEarly, refused, reaper, twice];

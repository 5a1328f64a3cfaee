/**
 * kvm: the protocol of faults, slots that change while something is invalidated, the cache of the host, ranges that are
 * refused, and several VMs in one program.
 *
 * Who drives it: programs by system calls, their guests, and the mm.
 */
import { MADV_DONTNEED } from '../../base/mman.ts';
import {
  EVENTFD_SIGNAL,
  KVM_XEN_HVM_EVTCHN_SEND,
  KVM_XEN_HVM_SET_ATTR,
} from '../../drivers/kvm/index.ts';
import {
  refusingOps,
  subscriberGet,
  subscriberPut,
  type Subscriber,
} from '../../drivers/subscriber/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { Body } from '../../kernel/operation.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmgetNotZero, mmput } from '../../mm-types/mm-struct.ts';
import { setNotifierBehaviour } from '../../mmu-notifier/behaviour.ts';
import type { TaskDefinition } from '../../check/scenario.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  CLEAN,
  guestLoad,
  guestStore,
  makeVm,
  moduleOf,
  OLD,
  prepare,
  region,
  setRegion,
  STALE,
  unpin,
  WRITTEN,
  type KvmState,
} from './kvm-subject.ts';

const drop: TaskDefinition<KvmState> = {
  *run({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
};

const guest: TaskDefinition<KvmState> = {
  *run(state) {
    if ((yield* guestStore(state)) >= 0) goal('the guest wrote');
  },
};

/** A guest, or the host through its cache, reaches a page that is free. */
const FREED = {
  verdict: 'violation',
  kind: 'use-after-free',
  object: 'page',
  invariant: 'I8a',
} as const;
/** The same translation, a little earlier or later. */
const C1_STALE = { name: 'C1', kind: 'invariant', object: 'page' } as const;
const C1_FREED = { name: 'C1', kind: 'use-after-free', object: 'page' } as const;

/** The guest's page is dropped while it faults: it must not get the one that was there. */
export const kvmFault = defineScenario<KvmState>({
  name: 'kvm-fault',
  models: ['C1'],
  about: 'a guest writes to a page for the first time while another thread drops the page',
  variants: {
    'v5.3': { expect: CLEAN },
    'count-only': {
      about: 'the page was dropped between lookup and lock: the sequence would have told (ours)',
      expect: FREED,
      alsoKnown: [C1_STALE],
    },
    'seq-only': {
      about: 'the page is being dropped: the count would have told (ours)',
      expect: STALE,
      alsoKnown: [C1_FREED],
    },
    'v6.1': { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: { guest, drop },
  goals: ['the guest wrote'],
  finally: unpin,
});

const HANGS = { verdict: 'violation', kind: 'deadlock' } as const;

export const kvmSlotAdded = defineScenario<KvmState>({
  name: 'kvm-slot-added',
  models: ['B-31', 'I7'],
  about: 'a slot is added for memory that another thread is dropping',
  variants: {
    'v5.3': { about: 'every range is counted, and counted back', expect: CLEAN },
    unblocked: {
      about: 'the start sees no slot and is not counted, the end sees one: -1',
      expect: { verdict: 'violation', kind: 'bug', object: 'kvm->mmu_notifier_count < 0' },
    },
    rwsem: {
      about:
        'the slot waits by a rwsem that is held from start to end: callbacks of two ranges wait',
      expect: {
        verdict: 'violation',
        kind: 'lock-order',
        object: 'kvm.mmu_notifier_slots_lock, mmu_notifier_invalidate_range_start',
        invariant: 'I11',
      },
    },
    'v6.1': { about: 'the slot waits for the end (52ac8b358b0c)', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), hasSlot: false }),
  tasks: {
    add: {
      *run(state) {
        yield* setRegion(state, region(ADDRESS));
      },
    },
    drop,
  },
  *finally(state) {
    if ((yield* guestStore(state)) >= 0) goal('the guest wrote');
    yield* unpin(state);
  },
  goals: ['the guest wrote'],
});

export const kvmSlotDeleted = defineScenario<KvmState>({
  name: 'kvm-slot-deleted',
  models: ['B-31', 'I7'],
  about: 'a slot is deleted while another thread drops its memory; then it is made again, and used',
  variants: {
    'v5.3': { expect: CLEAN },
    unblocked: {
      about: 'the start counts, the end sees no slot: faults wait for an end that was',
      expect: HANGS,
      // The reverse, with the slot that is made again; and a fault that such a start does not hold up.
      alsoKnown: [{ name: 'B-31', kind: 'bug' }, C1_STALE],
    },
    'v6.1': { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), isMapped: true }),
  tasks: {
    guest: {
      *run(state) {
        yield* setRegion(state, region(ADDRESS, 0));
        yield* setRegion(state, region(ADDRESS));
        if ((yield* guestStore(state)) >= 0) goal('the guest wrote');
      },
    },
    drop,
  },
  goals: ['the guest wrote'],
  finally: unpin,
});

/** The host has a cache of the guest's first page, which is not valid yet. */
function withCache(machine: Machine, variant: string): KvmState {
  const state = prepare(machine, { module: moduleOf(variant) });
  machine.runNow(state.process.ioctl(state.fd, KVM_XEN_HVM_SET_ATTR, 0));
  return state;
}

function* send({ process, fd }: KvmState): Body<void> {
  const error = yield* process.ioctl(fd, KVM_XEN_HVM_EVTCHN_SEND, WRITTEN);
  if (error === 0) goal('the host wrote');
}

export const kvmCache = defineScenario<KvmState>({
  name: 'kvm-pfncache',
  models: ['B-32', 'C1'],
  about:
    'the host writes to a page of the guest through its cache while another thread drops the page',
  variants: {
    'v5.17': {
      about: 'the page that was looked up is dropped before it is in the cache',
      expect: FREED,
      alsoKnown: [C1_STALE],
    },
    'v6.1': { about: 'asks under the lock that invalidation takes (58cd407ca4c6)', expect: CLEAN },
  },
  setup: withCache,
  tasks: { send: { run: send }, drop },
  goals: ['the host wrote'],
  finally: unpin,
});

export const kvmCacheShared = defineScenario<KvmState>({
  name: 'kvm-pfncache-shared',
  models: ['B-32'],
  about: 'two threads of the host write through the cache, which is not valid yet',
  variants: {
    'v5.17': {
      about:
        'one says that the cache is valid and lets go of the lock; the other finds no page there',
      expect: { verdict: 'violation', kind: 'null-dereference', object: 'NULL' },
    },
    'v6.1': { about: 'not valid until it is, and one refresh at a time', expect: CLEAN },
  },
  setup: withCache,
  tasks: { one: { run: send }, other: { run: send } },
  goals: ['the host wrote'],
  finally: unpin,
});

interface ChildState extends KvmState {
  readonly child: Process;
}

export const kvmExitSignal = defineScenario<ChildState>({
  name: 'kvm-exit-signal',
  models: ['A-110', 'I6'],
  about:
    'a program exits with its VM open; a child that has the VM’s eventfd signals it, so that the host writes to the guest',
  variants: {
    'v6.1': {
      about: 'release takes away SPTEs, and leaves the cache as it is',
      expect: FREED,
      alsoKnown: [{ name: 'A-110', kind: 'invariant', object: 'page' }],
    },
    releasing: { about: 'release makes the cache invalid, too (ours)', expect: CLEAN },
  },
  setup(machine, variant) {
    const state = withCache(machine, variant);
    machine.runNow(state.process.ioctl(state.fd, KVM_XEN_HVM_EVTCHN_SEND, OLD));
    const child = machine.runNow<Process>(state.process.fork() as never);
    // The page is the parent's own again, and the cache valid.
    machine.runNow(state.process.ioctl(state.fd, KVM_XEN_HVM_EVTCHN_SEND, OLD));
    return { ...state, child };
  },
  tasks: {
    program: {
      *run({ process }) {
        yield* process.exit();
      },
    },
    child: {
      *run({ child, fd }) {
        const error = yield* child.ioctl(fd, EVENTFD_SIGNAL, WRITTEN);
        goal(error === 0 ? 'the host wrote' : 'the host did not write');
        yield* child.exit();
      },
    },
  },
  goals: ['the host wrote', 'the host did not write'],
  finally: unpin,
});

interface RefusedState extends KvmState {
  readonly refusing: Subscriber;
}

export const kvmRefused = defineScenario<RefusedState>({
  name: 'kvm-refused',
  models: ['B-2', 'I7'],
  about: 'the OOM reaper tells a VM and another notifier, which refuses; then the guest faults',
  variants: {
    'v5.3': {
      about: 'nobody tells the VM that the range is over: the fault tries again for ever',
      expect: HANGS,
      alsoKnown: [{ name: 'B-2', kind: 'invariant', object: 'kvm' }],
    },
    'v5.12': { about: 'c2655835fd8c: after a refusal all are told the end', expect: CLEAN },
    'v6.1': { about: 'the same, with slots that wait, too', expect: CLEAN },
  },
  setup(machine, variant) {
    setNotifierBehaviour(machine, { pairsNonBlockable: variant !== 'v5.3' });
    const module = moduleOf(variant === 'v5.12' ? 'v5.3' : variant);
    const state = prepare(machine, { module });
    const refusing = machine.runNow(subscriberGet(state.mm, refusingOps)) as Subscriber;
    return { ...state, refusing };
  },
  tasks: {
    reap: {
      *run({ mm }) {
        if (!(yield* mmgetNotZero(mm))) return;
        if (!(yield* oomReapTaskMm(mm))) goal('the reaper gave up');
        yield* mmput(mm);
      },
    },
    guest,
  },
  goals: ['the reaper gave up', 'the guest wrote'],
  *finally(state) {
    yield* subscriberPut(state.refusing);
    yield* unpin(state);
  },
});

/** A program with two VMs that have the same memory; the guest of the second has used it. */
interface TwoState extends KvmState {
  readonly other: KvmState;
}

const SHARED = {
  'v5.3': { about: 'each VM registers a notifier of its own', expect: CLEAN },
  'v6.1': { about: 'the same', expect: CLEAN },
} as const;

export const kvmTwoVms = defineScenario<TwoState>({
  name: 'kvm-two-vms',
  models: ['patch 3', 'I8b'],
  about: 'a program has two VMs; a thread drops memory that the second has, whose guest reads it',
  variants: {
    ...SHARED,
    'get-put': {
      about: 'the second VM gets the notifier of the first, and is never told (ours)',
      expect: STALE,
      alsoKnown: [C1_FREED],
    },
  },
  setup: twoVms,
  tasks: {
    guest: {
      *run({ other }) {
        if ((yield* guestLoad(other)) >= 0) goal('the guest read');
      },
    },
    drop,
  },
  goals: ['the guest read'],
  finally: unpin,
});

function twoVms(machine: Machine, variant: string): TwoState {
  const state = prepare(machine, { module: moduleOf(variant), hasSlot: false });
  const other = makeVm(machine, state, 1);
  machine.runNow(guestStore(other, 0, WRITTEN));
  return { ...state, other };
}

export const kvmFirstVmGone = defineScenario<TwoState>({
  name: 'kvm-first-vm-gone',
  models: ['patch 3', 'I1'],
  about: 'a program has two VMs and destroys the first, while a thread drops memory of the second',
  variants: {
    ...SHARED,
    'get-put': {
      about: 'its put is not the last: the list goes on with the VM that is freed (ours)',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'kvm', invariant: 'I1' },
      alsoKnown: [
        { name: 'its memslots go with it', kind: 'use-after-free', object: 'kvm_memslots' },
        { name: 'and its SRCU domain', kind: 'lock-misuse', object: 'kvm.srcu' },
        { name: 'which has a reader', kind: 'warn' },
      ],
    },
  },
  setup: twoVms,
  tasks: {
    close: {
      *run({ process, fd }) {
        yield* process.close(fd);
      },
    },
    drop,
  },
  goals: [{ name: 'told', calls: 'kvm_mmu_notifier_invalidate_range_start' }],
  finally: unpin,
});

export const KVM_BUGS = [
  kvmFault,
  kvmSlotAdded,
  kvmSlotDeleted,
  kvmCache,
  kvmCacheShared,
  kvmExitSignal,
  kvmRefused,
  kvmTwoVms,
  kvmFirstVmGone,
];

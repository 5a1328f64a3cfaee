/** intel-svm: what was published, what was suspected, and why a PASID of one's own cannot be got. */
import { EINTR, ENOMEM } from '../../base/errno.ts';
import {
  faultOnCached,
  pciDev,
  SVM_DEVICE,
  SVM_FLAG_PRIVATE_PASID,
  svmRead,
  svmWrite,
} from '../../drivers/intel-svm/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { atomicRead } from '../../kernel/atomic.ts';
import { goal } from '../../kernel/choose.ts';
import { setBehaviour } from '../../mm/behaviour.ts';
import type { Process } from '../../mm/process.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  bind,
  CLEAN,
  moduleOf,
  OLD,
  prepare,
  read,
  unbind,
  unpin,
  write,
  WRITTEN,
  type SvmState,
} from './intel-svm-subject.ts';

/** No program has it: bit 47 set, those above clear. */
const IMPOSSIBLE = 2 ** 47 + 0x1000;
const STALE = { name: 'I8b', kind: 'invariant', object: 'page' } as const;
const REACHES_FREED = {
  verdict: 'violation',
  kind: 'use-after-free',
  object: 'page',
  invariant: 'I8a',
} as const;

const pageRequest = defineScenario<SvmState>({
  name: 'svm-page-request',
  models: ['B-36'],
  about: 'a device asks for a page at an impossible address; then the program exits',
  variants: {
    'v5.3': {
      about:
        'the request is refused with the mm in use: exit frees nothing, and release never comes',
      expect: { verdict: 'violation', kind: 'warn', object: 'the mm is still in use' },
    },
    'fixed-902baf61adf6': {
      about: 'the address is looked at before the mm is taken into use',
      expect: CLEAN,
    },
    converted: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run({ process, pasid }) {
        if ((yield* svmRead(pciDev(0), pasid, IMPOSSIBLE)) < 0) goal('refused');
        yield* process.exit();
      },
    },
  },
  goals: ['refused'],
  *finally(state) {
    warnOn((yield* atomicRead(state.mm.mmUsers)) !== 0, 'the mm is still in use');
    yield* unpin(state);
  },
});

const wholeFlush = defineScenario<SvmState>({
  name: 'svm-whole-flush',
  models: ['B-37', 'I8b'],
  about:
    'a fork shares the page and flushes the whole address space, while the device writes to it',
  variants: {
    'v6.6': {
      about:
        'the size of [0, -1] wraps round to no page at all: the device keeps the right to write',
      expect: { verdict: 'violation', kind: 'invariant', object: 'page', invariant: 'I8b' },
    },
    'fixed-sizes': { about: 'a size that does not wrap', expect: CLEAN },
    converted: { expect: CLEAN },
  },
  setup(machine, variant) {
    setBehaviour(machine, { invalidateRange: 'flush' });
    return prepare(machine, { module: moduleOf(variant) });
  },
  tasks: {
    fork: {
      *run({ process }) {
        const child = (yield* process.fork()) as Process;
        goal('forked');
        yield* child.exit();
      },
    },
    device: {
      *run(state) {
        yield* write(state);
      },
    },
  },
  goals: ['forked'],
  finally: unpin,
});

const secondIommu = defineScenario<SvmState>({
  name: 'svm-second-iommu',
  models: ['A-14', 'I8a'],
  about:
    'two devices behind different IOMMUs share a PASID; the program unmaps a page that both have used',
  variants: {
    'v5.3': {
      about: 'all commands go to the IOMMU of the device that was bound first',
      expect: REACHES_FREED,
      alsoKnown: [STALE],
    },
    'own-iommu': { about: 'to the one that the device is behind (ours)', expect: CLEAN },
    converted: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), devices: [0, 2] }),
  tasks: {
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        goal('unmapped');
      },
    },
    device: {
      *run(state) {
        yield* read(state, 2);
      },
    },
  },
  goals: ['unmapped'],
  finally: unpin,
});

interface TwoPrograms extends SvmState {
  readonly other: SvmState;
}

const pasidReuse = defineScenario<TwoPrograms>({
  name: 'svm-pasid-reuse',
  models: ['A-14'],
  about:
    'a program unbinds the last device of a PASID, while another program binds the same device',
  variants: {
    'v5.3': {
      about: 'the PASID is free before the notifier is gone, but pasid_mutex is held until it is',
      expect: CLEAN,
    },
    converted: { about: 'it is free when no callback can have it', expect: CLEAN },
  },
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant) });
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    machine.runNow(process.store(ADDRESS, OLD));
    const fd = machine.runNow<number>(process.open(SVM_DEVICE));
    return { ...state, other: { ...state, process, fd, pasid: 0 } };
  },
  tasks: {
    unbind: {
      *run(state) {
        yield* unbind(state, { device: 0, pasid: state.pasid });
        goal('unbound');
      },
    },
    bind: {
      *run({ pasid: first, other }) {
        const pasid = yield* bind(other, { device: 0 });
        goal(pasid === first ? 'the same PASID' : 'another PASID');
        yield* svmWrite(pciDev(0), pasid, ADDRESS, WRITTEN);
        warnOn(
          (yield* other.process.load(ADDRESS)) !== WRITTEN,
          'the program has what was written',
        );
      },
    },
  },
  goals: ['unbound', 'another PASID'],
  *finally(state) {
    warnOn((yield* state.process.load(ADDRESS)) !== OLD, 'the other program has kept its own');
    yield* unpin(state);
  },
});

const ownPasid = defineScenario<SvmState>({
  name: 'svm-own-pasid',
  models: ['I8b'],
  about: 'a program binds a second time, with a PASID of its own, while another thread unmaps',
  variants: {
    'v5.3': { about: 'each registers a notifier', expect: CLEAN },
    merged: {
      about: 'by get, which finds the shared one: nothing is its own',
      expect: { verdict: 'violation', kind: 'warn', object: 'the PASID is shared' },
    },
    converted: { about: 'who shares gets, who does not registers', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    bind: {
      *run(state) {
        const own = yield* bind(state, { device: 1, flags: SVM_FLAG_PRIVATE_PASID });
        warnOn(own === state.pasid, 'the PASID is shared');
        yield* svmRead(pciDev(1), own, ADDRESS);
        yield* unbind(state, { device: 1, pasid: own });
        goal('unbound');
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['unbound'],
  finally: unpin,
});

const upgrade = defineScenario<SvmState>({
  name: 'svm-upgrade',
  models: ['B-37b'],
  about:
    'a device that has cached an entry for reading wants to write; the page was shared with a child that is gone',
  variants: {
    'v6.5': {
      about:
        'the entry gets the right to write, and no notifier is told: the device faults for ever',
      expect: { verdict: 'violation', kind: 'warn', object: 'the device faults again and again' },
    },
    'fixed-v6.6': { about: 'the flush of the TLBs tells it (6bbd42e2df8f)', expect: CLEAN },
  },
  setup(machine, variant) {
    setBehaviour(machine, {
      upgradesFlush: true,
      invalidateRange: variant === 'v6.5' ? 'end' : 'flush',
    });
    const state = prepare(machine, { module: moduleOf('fixed-sizes'), devices: [0] });
    const child = machine.runNow(state.process.fork()) as Process;
    machine.runNow(child.exit());
    faultOnCached(pciDev(0), state.pasid);
    machine.runNow(read(state));
    return state;
  },
  tasks: {
    device: {
      *run(state) {
        if ((yield* write(state)) !== OLD) return;
        goal('the device has written');
        warnOn(
          (yield* state.process.load(ADDRESS)) !== WRITTEN,
          'the program has what was written',
        );
      },
    },
    program: {
      *run({ process }) {
        yield* process.load(ADDRESS);
      },
    },
  },
  goals: ['the device has written'],
  finally: unpin,
});

const lateInvalidation = defineScenario<SvmState>({
  name: 'svm-late-invalidation',
  models: ['A-90', 'I8a'],
  about: 'a device is unbound that is still at work, while another thread unmaps the page',
  variants: {
    'v5.3': {
      about: 'it is off the list before it is torn down: in between it is told nothing',
      expect: REACHES_FREED,
      alsoKnown: [STALE],
    },
    'tears-down-first': { about: 'torn down, then off the list (ours)', expect: CLEAN },
    converted: { about: 'likewise', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    unbind: {
      *run(state) {
        yield* unbind(state, { device: 0, pasid: state.pasid });
        goal('unbound');
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
    device: {
      *run(state) {
        yield* write(state);
      },
    },
  },
  goals: ['unbound'],
  finally: unpin,
});

const use = defineScenario<SvmState>({
  name: 'svm-use',
  models: ['I8b'],
  about:
    'a program and a device pass a byte to and fro, then it unmaps: the device faults from then on',
  variants: { 'v5.3': { expect: CLEAN }, converted: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        const { process, pasid } = state;
        yield* process.store(ADDRESS + 1, 7);
        warnOn((yield* svmRead(pciDev(0), pasid, ADDRESS + 1)) !== 7, 'the device reads it');
        yield* svmWrite(pciDev(0), pasid, ADDRESS + 2, 8);
        warnOn((yield* process.load(ADDRESS + 2)) !== 8, 'the program reads it');
        yield* process.munmap(ADDRESS, PAGE_SIZE);
        if ((yield* svmRead(pciDev(0), pasid, ADDRESS)) < 0) goal('the device faults');
      },
    },
    reclaim: {
      *run({ mm }) {
        if (yield* reclaimPage(mm, ADDRESS, true)) goal('reclaimed');
      },
    },
  },
  goals: ['the device faults', 'reclaimed'],
  finally: unpin,
});

const failing = defineScenario<SvmState>({
  name: 'svm-failing',
  models: ['I8b'],
  about: 'a bind that runs out of memory, or is interrupted, while another thread unmaps',
  faults: { allocations: 1, signals: 1 },
  variants: { 'v5.3': { expect: CLEAN }, converted: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), devices: [] }),
  tasks: {
    bind: {
      *run(state) {
        const pasid = yield* bind(state, { device: 0 });
        if (pasid === -ENOMEM) goal('no memory');
        if (pasid === -EINTR) goal('interrupted');
        if (pasid > 0) goal('bound');
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['no memory', 'interrupted', 'bound'],
  finally: unpin,
});

export const SVM_BUGS = [
  use,
  failing,
  pageRequest,
  wholeFlush,
  upgrade,
  secondIommu,
  pasidReuse,
  lateInvalidation,
  ownPasid,
] as const;

/**
 * Each thing that can happen to a VM and to the memory that its guest has, beside each other one, and what three do
 * together. For v5.3 and v6.1: what is found here is known of no kernel.
 */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { Variant } from '../../check/scenario.ts';
import {
  KVM_DEVICE,
  KVM_XEN_HVM_EVTCHN_SEND,
  KVM_XEN_HVM_SET_ATTR,
} from '../../drivers/kvm/index.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Machine } from '../../mm/machine.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { pairsOf, sideBySide, variantsOf, type Actions } from './pairs.ts';
import {
  ADDRESS,
  guestStore,
  moduleOf,
  OLD,
  prepare,
  region,
  setRegion,
  unpin,
  WRITTEN,
  type KvmState,
} from './kvm-subject.ts';

const ACTIONS: Actions<KvmState> = {
  // Another VM of the program.
  *register({ process }) {
    yield* process.open(KVM_DEVICE);
  },
  *unregister({ process, fd }) {
    yield* process.close(fd);
  },
  // The same memory once more.
  *map(state) {
    yield* setRegion(state, { ...region(ADDRESS, 1, 1), guestPhysAddr: PAGE_SIZE });
  },
  *unmap(state) {
    yield* setRegion(state, region(ADDRESS, 0));
  },
  *move(state) {
    yield* setRegion(state, { ...region(ADDRESS), guestPhysAddr: 2 * PAGE_SIZE });
  },
  *access(state) {
    yield* guestStore(state);
  },
  *munmap({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
  *drop({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
  *mprotect({ process }) {
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  },
  *fork({ process }) {
    yield* process.fork();
  },
  // The page is shared with a child: the write copies it.
  *cow({ process }) {
    yield* process.store(ADDRESS, OLD);
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  // A page that was used lately stays.
  *age({ mm }) {
    yield* reclaimPage(mm, ADDRESS, false);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *unload({ module }) {
    yield* unloadModule(module);
  },
};

/** With what the host does by itself, from v5.17 on. */
const ALL: Actions<KvmState> = {
  ...ACTIONS,
  *send({ process, fd }) {
    yield* process.ioctl(fd, KVM_XEN_HVM_EVTCHN_SEND, WRITTEN);
  },
};

function setUp(machine: Machine, version: string, variant: string): KvmState {
  const names = variant.split('+');
  // A guest that has its translation already would never fault beside what does not take it away.
  const isMapped = names.filter((name) => name === 'access').length !== 1;
  const state = prepare(machine, { module: moduleOf(version), isMapped });
  const { process, fd } = state;
  if (names.includes('send')) machine.runNow(process.ioctl(fd, KVM_XEN_HVM_SET_ATTR, 0));
  if (names.includes('cow')) machine.runNow(process.fork());
  // Otherwise the module cannot go.
  if (names.includes('unload') && !names.includes('unregister')) machine.runNow(process.close(fd));
  return state;
}

type Variants = Readonly<Record<string, Variant>>;

function beside(name: string, version: string, variants: Variants) {
  return defineScenario<KvmState>({
    name,
    models: ['C1', 'I7', 'I8b'],
    about: `each thing that can happen to a VM and its memory, beside each other one (${version})`,
    variants,
    setup: (machine, variant) => setUp(machine, version, variant),
    ...sideBySide(ALL, 'first', 'second'),
    finally: unpin,
  });
}

export const kvmPairs = beside('kvm-pairs', 'v5.3', pairsOf(ACTIONS));
// The pair that is left out has nothing of kvm but its callbacks, in more orders than a search should take.
const LATER_PAIRS = pairsOf(ALL, { leftOut: new Set(['cow+reclaim']) });

export const kvmPairsLater = beside('kvm-pairs-v6.1', 'v6.1', LATER_PAIRS);

export const kvmTriples = defineScenario<KvmState>({
  ...kvmPairsLater,
  name: 'kvm-triples',
  about: 'three things that can happen to a VM and its memory (v6.1)',
  variants: variantsOf([
    'access+drop+unmap',
    'access+drop+age',
    'access+drop+move',
    'access+mprotect+age',
    'send+drop+unmap',
    'drop+munmap+unmap',
  ]),
  ...sideBySide(ALL, 'first', 'second', 'third'),
});

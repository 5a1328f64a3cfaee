/**
 * kvm as programs use it, after cases of the kernel's own tests of KVM: what guest and program see of each other's
 * memory, in every execution.
 */
import { MADV_FREE, PROT_READ, PROT_WRITE } from '../../base/mman.ts';
import { EFAULT } from '../../base/errno.ts';
import {
  KVM_EXIT_MMIO,
  KVM_GET_DIRTY_LOG,
  KVM_MEM_LOG_DIRTY_PAGES,
} from '../../drivers/kvm/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import type { TaskDefinition } from '../../check/scenario.ts';
import { setBehaviour } from '../../mm/behaviour.ts';
import { ksmMerge, ksmStabilize } from '../../mm/ksm.ts';
import { pageIdleClearPteRefs } from '../../mm/page-idle.ts';
import { lockPage, unlockPage } from '../../mm/page-cache.ts';
import { putPage } from '../../mm/frames.ts';
import type { Process } from '../../mm/process.ts';
import { isolatePage, reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import type { Page } from '../../mm-types/page.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  BOTH,
  CLEAN,
  guestLoad,
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

/** Reclaim that takes the page whether or not it was used. */
const reclaim: TaskDefinition<KvmState> = {
  *run({ mm }) {
    if (yield* reclaimPage(mm, ADDRESS, true)) goal('swapped out');
  },
};

export const kvmProtect = defineScenario<KvmState>({
  name: 'kvm-protect',
  models: ['I8b'],
  about:
    'a program makes memory read-only under a running guest, looks at it, and makes it writable',
  variants: BOTH,
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), isMapped: true }),
  tasks: {
    guest: {
      *run(state) {
        const byte = yield* guestStore(state);
        warnOn(byte !== OLD && byte !== -EFAULT, 'the guest writes, or is stopped');
        if (byte === -EFAULT) goal('stopped');
      },
    },
    program: {
      *run({ process }) {
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
        const first = yield* process.load(ADDRESS);
        warnOn(first !== (yield* process.load(ADDRESS)), 'nobody writes to read-only memory');
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ | PROT_WRITE);
      },
    },
  },
  goals: ['stopped'],
  *finally(state) {
    warnOn((yield* guestStore(state, 0, WRITTEN + 1)) < 0, 'the guest writes again');
    warnOn((yield* state.process.load(ADDRESS)) !== WRITTEN + 1, 'the program reads it');
    yield* unpin(state);
  },
});

export const kvmSnapshot = defineScenario<KvmState>({
  name: 'kvm-snapshot',
  models: ['I8b'],
  about: 'a program forks while its guest writes: the child has the memory as it was',
  variants: BOTH,
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), isMapped: true }),
  tasks: {
    guest: {
      *run(state) {
        yield* guestStore(state);
        warnOn((yield* guestLoad(state)) !== WRITTEN, 'the guest reads what it wrote');
      },
    },
    program: {
      *run({ process }) {
        const child = (yield* process.fork()) as Process;
        const first = yield* child.load(ADDRESS);
        warnOn(first !== OLD && first !== WRITTEN, 'the child has what was there');
        goal(first === OLD ? 'from before' : 'from after');
        warnOn(first !== (yield* child.load(ADDRESS)), 'the guest does not write to the child');
        yield* child.exit();
      },
    },
  },
  goals: ['from before', 'from after'],
  *finally(state) {
    warnOn((yield* state.process.load(ADDRESS)) !== WRITTEN, 'the parent has what the guest wrote');
    yield* unpin(state);
  },
});

export const kvmMove = defineScenario<KvmState>({
  name: 'kvm-move',
  models: ['B-31'],
  about: 'a program moves a slot away under a running guest, changes the memory, and moves it back',
  variants: BOTH,
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), isMapped: true }),
  tasks: {
    guest: {
      *run(state) {
        const byte = yield* guestLoad(state);
        warnOn(![OLD, WRITTEN, KVM_EXIT_MMIO].includes(byte), 'nothing but what was there');
        if (byte === KVM_EXIT_MMIO) goal('no memory there');
        if (byte === WRITTEN) goal('moved back');
      },
    },
    program: {
      *run(state) {
        yield* setRegion(state, { ...region(ADDRESS), guestPhysAddr: PAGE_SIZE });
        yield* state.process.store(ADDRESS, WRITTEN + 1);
        yield* state.process.store(ADDRESS, WRITTEN);
        yield* setRegion(state, region(ADDRESS));
      },
    },
  },
  goals: ['no memory there', 'moved back'],
  finally: unpin,
});

export const kvmSwap = defineScenario<KvmState>({
  name: 'kvm-swap',
  models: ['I8b'],
  about: 'a guest writes to a page and reads it while the page is swapped out',
  variants: BOTH,
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), isMapped: true }),
  tasks: {
    guest: {
      *run(state) {
        yield* guestStore(state);
        warnOn((yield* guestLoad(state)) !== WRITTEN, 'the guest reads what it wrote');
      },
    },
    reclaim,
  },
  goals: ['swapped out'],
  *finally(state) {
    warnOn((yield* state.process.load(ADDRESS)) !== WRITTEN, 'so does the program');
    yield* unpin(state);
  },
});

export const kvmLazyFree = defineScenario<KvmState>({
  name: 'kvm-lazy-free',
  models: ['I8b'],
  about: 'a program gives a page up (MADV_FREE), its guest writes to it, and reclaim comes to it',
  variants: BOTH,
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), isMapped: true }),
  tasks: {
    program: {
      *run(state) {
        yield* state.process.madvise(ADDRESS, PAGE_SIZE, MADV_FREE);
        yield* guestStore(state);
      },
    },
    reclaim,
  },
  goals: ['swapped out'],
  *finally(state) {
    // That the guest has written is known when its translation goes, and the page is kept.
    warnOn((yield* state.process.load(ADDRESS)) !== WRITTEN, 'what was written later is kept');
    yield* unpin(state);
  },
});

export const kvmAge = defineScenario<KvmState>({
  name: 'kvm-age',
  models: ['I8b'],
  about:
    'reclaim comes twice to a page that only a guest uses: a page that was used in between stays',
  variants: BOTH,
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), isMapped: true }),
  tasks: {
    guest: {
      *run(state) {
        warnOn((yield* guestLoad(state)) !== OLD, 'the guest reads what is there');
        goal('read');
      },
    },
    reclaim: {
      *run({ mm }) {
        warnOn(yield* reclaimPage(mm, ADDRESS, false), 'a page that was used is kept');
        if (yield* reclaimPage(mm, ADDRESS, false)) goal('swapped out');
        else goal('kept');
      },
    },
  },
  goals: ['read', 'swapped out', 'kept'],
  finally: unpin,
});

export const kvmIdle = defineScenario<KvmState>({
  name: 'kvm-idle',
  models: ['I8b'],
  about: 'idle page tracking asks twice about a page that a guest reads',
  variants: BOTH,
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), isMapped: true }),
  tasks: {
    guest: {
      *run(state) {
        yield* guestLoad(state);
      },
    },
    tracker: {
      *run({ mm }) {
        const page = (yield* isolatePage(mm, ADDRESS))!;
        yield* lockPage(page);
        yield* pageIdleClearPteRefs(page);
        // The guest's use through the TLB is missed, which is why reclaim flushes.
        if (!(yield* pageIdleClearPteRefs(page))) goal('idle');
        yield* unlockPage(page);
        yield* putPage(page);
      },
    },
  },
  goals: ['idle'],
  finally: unpin,
});

const LOGGED = { ...region(ADDRESS), flags: KVM_MEM_LOG_DIRTY_PAGES };

interface LogState extends KvmState {
  /** What the program has copied. */
  readonly copy: { byte: number };
}

export const kvmDirtyLog = defineScenario<LogState>({
  name: 'kvm-dirty-log',
  models: ['I8b'],
  about: 'a program copies the memory of a running guest, by the log of pages that were written',
  variants: BOTH,
  setup(machine, variant) {
    const state = prepare(machine, { module: moduleOf(variant), isMapped: true });
    machine.runNow(setRegion(state, LOGGED));
    return { ...state, copy: { byte: OLD } };
  },
  tasks: {
    guest: {
      *run(state) {
        yield* guestStore(state, 0, WRITTEN);
        yield* guestStore(state, 0, WRITTEN + 1);
      },
    },
    program: {
      *run({ process, fd, copy }) {
        if ((yield* process.ioctl(fd, KVM_GET_DIRTY_LOG, 0)) === 0) return;
        copy.byte = yield* process.load(ADDRESS);
        goal('copied');
      },
    },
  },
  goals: ['copied', 'nothing left to copy', 'something left to copy'],
  *finally(state) {
    const { process, fd, copy } = state;
    const log = yield* process.ioctl(fd, KVM_GET_DIRTY_LOG, 0);
    const byte = yield* process.load(ADDRESS);
    goal(log === 0 ? 'nothing left to copy' : 'something left to copy');
    warnOn(log === 0 && byte !== copy.byte, 'what is not in the log is copied');
    yield* unpin(state);
  },
});

interface MergeState extends KvmState {
  /** With a reference. */
  readonly kpage: Page;
}

export const kvmMerged = defineScenario<MergeState>({
  name: 'kvm-merged',
  models: ['I8b'],
  about: 'KSM merges two pages of a guest, which writes to one of them',
  // v6.1 differs in locks of its own, which make seven times as many orders.
  variants: { 'v5.3': { expect: CLEAN } },
  setup(machine, variant) {
    setBehaviour(machine, { changePte: true });
    const state = prepare(machine, { module: moduleOf(variant), pages: 2, isMapped: true });
    machine.runNow(guestLoad(state, PAGE_SIZE));
    const { mm } = state;
    const kpage = machine.runNow(ksmStabilize({ mm, address: ADDRESS + PAGE_SIZE })) as Page;
    return { ...state, kpage };
  },
  tasks: {
    guest: {
      *run(state) {
        yield* guestStore(state);
      },
    },
    ksm: {
      *run({ mm, kpage }) {
        if (yield* ksmMerge({ mm, address: ADDRESS }, kpage)) goal('merged');
      },
    },
  },
  goals: ['merged', { name: 'told of the entry', calls: 'kvm_mmu_notifier_change_pte' }],
  *finally(state) {
    warnOn((yield* state.process.load(ADDRESS)) !== WRITTEN, 'the program reads what was written');
    warnOn((yield* guestLoad(state, PAGE_SIZE)) !== OLD, 'the other page is as it was');
    yield* putPage(state.kpage);
    yield* unpin(state);
  },
});

export const KVM_USE = [
  kvmProtect,
  kvmSnapshot,
  kvmMove,
  kvmSwap,
  kvmLazyFree,
  kvmAge,
  kvmIdle,
  kvmDirtyLog,
  kvmMerged,
];

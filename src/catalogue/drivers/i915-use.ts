/** i915's user pointers as programs use them, while something fails, interrupts, or must not wait. */
import { MADV_DONTNEED } from '../../base/mman.ts';
import {
  DRM_I915_GEM_EXECBUFFER2,
  DRM_I915_GEM_WAIT,
  DRM_IOCTL_GEM_CLOSE,
} from '../../drivers/i915/index.ts';
import type { Variant } from '../../check/scenario.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  CLEAN,
  moduleOf,
  OLD,
  prepare,
  submitWrite,
  unpin,
  userptr,
  type I915State,
} from './i915-subject.ts';

/** The GPU copies a byte of the program to another place, and the program reads it there. */
const copies = fn(function* copies({ process, fd }: I915State, handle: number) {
  const command = { op: 'copy', from: { handle, offset: 0 }, to: { handle, offset: 1 } };
  if ((yield* process.ioctl(fd, DRM_I915_GEM_EXECBUFFER2, [command])) !== 0) {
    goal('refused');
    return;
  }
  yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle);
  warnOn((yield* process.load(ADDRESS + 1)) !== OLD, 'the program reads what the GPU wrote');
  goal('copied');
});

export const i915Use = defineScenario<I915State>({
  name: 'i915-use',
  models: ['I8b'],
  about: 'a program has the GPU copy a byte of its memory, and reads it; whatever allocation fails',
  variants: {
    'v5.3': { expect: CLEAN },
    'get-put': { expect: CLEAN },
    'v6.1': { expect: CLEAN },
  },
  faults: { allocations: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        const handle = yield* userptr(state);
        yield* copies(state, handle);
        yield* state.process.ioctl(state.fd, DRM_IOCTL_GEM_CLOSE, handle);
        yield* state.process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['refused', 'copied'],
  finally: unpin,
});

function* submitOnce(state: I915State): Body<void> {
  const error = yield* submitWrite(state, state.handle);
  goal(error === 0 ? 'submitted' : 'interrupted');
}

export const i915Interrupted = defineScenario<I915State>({
  name: 'i915-interrupted',
  models: ['I8b'],
  about: 'two threads submit jobs for one buffer; a signal may come while one waits for the other',
  variants: { 'get-put': { expect: CLEAN }, fixed: { expect: CLEAN } },
  faults: { signals: 1 },
  setup: (machine, variant) => prepare(machine, { made: 'pages', module: moduleOf(variant) }),
  tasks: { one: { run: submitOnce }, other: { run: submitOnce } },
  interchangeable: [['one', 'other']],
  goals: ['submitted', 'interrupted'],
  finally: unpin,
});

export const i915Life = defineScenario<I915State>({
  name: 'i915-life',
  models: ['I8b'],
  about: 'a thread makes a buffer, while another makes one, too, or closes the only one there is',
  variants: {
    'v5.3 makes': { about: 'whoever comes second finds the notifier registered', expect: CLEAN },
    'v5.3 closes': { about: 'the old i915_mm_struct is out of the hash, or kept', expect: CLEAN },
    'get-put makes': { expect: CLEAN },
    'get-put closes': { expect: CLEAN },
  },
  setup(machine, variant) {
    const [version = '', other] = variant.split(' ');
    const made = other === 'closes' ? 'a handle' : 'nothing';
    return prepare(machine, { made, module: moduleOf(version) });
  },
  tasks: {
    one: {
      *run(state) {
        if ((yield* userptr(state)) > 0) goal('made');
      },
    },
    other: {
      *run(state) {
        const { process, fd, handle } = state;
        if (handle === 0) yield* userptr(state);
        else yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle);
      },
    },
  },
  goals: ['made'],
  finally: unpin,
});

export const i915Reaper = defineScenario<I915State>({
  name: 'i915-reaper',
  models: ['I8b'],
  about: 'the OOM reaper, which must not wait, comes while a thread registers and closes a buffer',
  variants: { 'get-put': { expect: CLEAN }, fixed: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { made: 'pages', module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        const { process, fd, handle } = state;
        yield* userptr(state);
        yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle);
      },
    },
    reaper: {
      *run({ mm }) {
        const isDone = yield* oomReapTaskMm(mm);
        goal(isDone ? 'reaped' : 'left to exit');
      },
    },
  },
  goals: ['left to exit'],
  finally: unpin,
});

// ---- pages that a work looks up ------------------------------------------------------------------

type Action = (state: I915State) => Body<unknown>;

const BESIDE: Readonly<Record<string, Action>> = {
  *again(state) {
    const error = yield* submitWrite(state, state.handle);
    if (error === 0) goal('submitted');
  },
  *unregister({ process, fd, handle }) {
    yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle);
  },
  *munmap({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
  *drop({ process }) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
  *reclaim({ mm }) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  *exit({ process }) {
    yield* process.exit();
  },
  *close({ process, fd, module }) {
    yield* process.close(fd);
    yield* unloadModule(module);
  },
};

const AGAIN: Variant = { expect: CLEAN };

export const i915Worker = defineScenario<I915State>({
  name: 'i915-worker',
  models: ['I8b'],
  about:
    'a work looks pages up that were not there when a job needed them, beside what else happens (get-put)',
  variants: Object.fromEntries(Object.keys(BESIDE).map((name) => [name, AGAIN])),
  setup(machine) {
    const state = prepare(machine, { made: 'a handle', module: moduleOf('get-put') });
    // The page tables stay.
    machine.runNow(state.process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED));
    return state;
  },
  tasks: {
    program: {
      *run(state, variant) {
        const error = yield* submitWrite(state, state.handle);
        if (error < 0) goal('to be tried again');
        yield* (BESIDE[variant] as Action)(state);
      },
    },
  },
  goals: [
    'to be tried again',
    { name: 'a work looked for pages', calls: '__i915_gem_userptr_get_pages_worker' },
  ],
  finally: unpin,
});

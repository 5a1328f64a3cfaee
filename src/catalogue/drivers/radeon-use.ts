/** radeon's user pointers as programs use them, while something fails, interrupts, or must not wait. */
import {
  DRM_IOCTL_GEM_CLOSE,
  DRM_RADEON_CS,
  DRM_RADEON_GEM_CREATE,
  DRM_RADEON_GEM_WAIT_IDLE,
} from '../../drivers/radeon/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import type { Body } from '../../kernel/operation.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  BOUND,
  CLEAN,
  moduleOf,
  OLD,
  prepare,
  REGISTERED,
  submitWrite,
  unpin,
  userptr,
  type RadeonState,
} from './radeon-subject.ts';

/** The GPU copies a byte to a buffer of its own and back, and the program reads it. */
const copyThereAndBack = fn(function* copyThereAndBack(
  { process, fd }: RadeonState,
  handle: number,
  plain: number,
) {
  const here = { handle, offset: 0 };
  const there = { handle: plain, offset: 0 };
  const commands = [
    { op: 'copy', from: here, to: there },
    { op: 'copy', from: there, to: { handle, offset: 1 } },
  ];
  if ((yield* process.ioctl(fd, DRM_RADEON_CS, commands)) !== 0) {
    goal('refused');
    return;
  }
  yield* process.ioctl(fd, DRM_RADEON_GEM_WAIT_IDLE, handle);
  warnOn((yield* process.load(ADDRESS + 1)) !== OLD, 'the program reads what the GPU wrote');
  goal('copied');
});

export const radeonUse = defineScenario<RadeonState>({
  name: 'radeon-use',
  models: ['patch 8', 'D8-3'],
  about:
    'a program has the GPU copy its memory there and back, and reads it; whatever allocation fails',
  variants: {
    'v5.3': { expect: CLEAN },
    fixed: { expect: CLEAN },
    retrying: { expect: CLEAN },
  },
  faults: { allocations: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        const { process, fd } = state;
        const handle = yield* userptr(state, ADDRESS, REGISTERED);
        // The same memory again, in the same node.
        yield* userptr(state, ADDRESS, REGISTERED);
        const plain = yield* process.ioctl(fd, DRM_RADEON_GEM_CREATE, 2 * PAGE_SIZE);
        yield* copyThereAndBack(state, handle, plain);
        yield* process.close(fd);
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['refused', 'copied'],
  finally: unpin,
});

export const radeonInterrupted = defineScenario<RadeonState>({
  name: 'radeon-interrupted',
  models: ['patch 8'],
  about: 'two threads submit jobs for one buffer; a signal may come while one waits for the other',
  variants: { fixed: { expect: CLEAN }, 'v5.5': { expect: CLEAN } },
  faults: { signals: 1 },
  setup: (machine, variant) => prepare(machine, { flags: BOUND, module: moduleOf(variant) }),
  tasks: { one: { run: submitOnce }, other: { run: submitOnce } },
  goals: ['submitted', 'interrupted'],
  finally: unpin,
});

function* submitOnce(state: RadeonState): Body<void> {
  const error = yield* submitWrite(state, state.handle);
  goal(error === 0 ? 'submitted' : 'interrupted');
}

export const radeonReaper = defineScenario<RadeonState>({
  name: 'radeon-reaper',
  models: ['patch 8'],
  about: 'the OOM reaper, which must not wait, comes while a thread registers and closes a buffer',
  variants: { fixed: { expect: CLEAN }, retrying: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { flags: BOUND, module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        const { process, fd, handle } = state;
        yield* userptr(state, ADDRESS, REGISTERED);
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

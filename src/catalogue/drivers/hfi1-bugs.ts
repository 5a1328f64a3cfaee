/** hfi1: what was published, and what is doubtful. */
import { MADV_DONTNEED } from '../../base/mman.ts';
import {
  HFI1_IOCTL_ASSIGN_CTXT,
  HFI1_IOCTL_TID_FREE,
  hfiReceive,
  hfiSent,
  hfiWaitDone,
} from '../../drivers/hfi1/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import type { Body } from '../../kernel/operation.ts';
import { oomReapTaskMm } from '../../mm/oom.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESS,
  CLEAN,
  moduleOf,
  NEW,
  prepare,
  RECEIVED,
  send,
  tidInvalid,
  tidUpdate,
  type Hfi1State,
} from './hfi1-subject.ts';

/** Other memory at the same place, with something else in it. */
function* remap(process: Process, advice: 'munmap' | 'drop' = 'munmap'): Body<void> {
  if (advice === 'drop') yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  else yield* process.munmap(ADDRESS, PAGE_SIZE);
  if (advice === 'munmap') yield* process.mmap(ADDRESS, PAGE_SIZE);
  yield* process.store(ADDRESS, NEW);
}

export const hfi1Inherited = defineScenario<Hfi1State>({
  name: 'hfi1-inherited',
  models: ['B-17', 'C8', 'I5'],
  about: 'a program opens the device, forks and ends; the child asks for a context',
  variants: {
    unpinned: {
      about: 'the notifier is for the mm that opened the file, and that is gone',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'mm_struct' },
    },
    'v5.3': {
      about: 'the file keeps the mm_struct, but nobody has used it since the parent ended',
      expect: { verdict: 'violation', kind: 'bug', object: 'atomic_read(&mm->mm_users) <= 0' },
    },
    'v5.10': { about: 'it is for who asks', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'open'),
  tasks: {
    program: {
      *run({ process, fd }) {
        const child = yield* process.fork();
        if (typeof child === 'number') return;
        yield* process.exit();
        if ((yield* child.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT)) === 0) goal('has a context');
        yield* child.exit();
      },
    },
  },
  goals: ['has a context'],
});

const SENDS = 'what is sent is what the program has stored';

export const hfi1WrongMm = defineScenario<Hfi1State>({
  name: 'hfi1-wrong-mm',
  models: ['B-17', 'C8'],
  about:
    'a child sends memory of its own by a file of its parent, maps other memory there, and sends that',
  variants: {
    'v5.3': {
      about: "the cache hears of the parent's mappings, and keeps the child's old page",
      expect: { verdict: 'violation', kind: 'warn', object: SENDS },
      alsoKnown: [{ name: 'B-20', kind: 'use-after-free' }],
    },
    'v5.10': { about: 'refused', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'context'),
  tasks: {
    program: {
      *run(state) {
        const child = yield* state.process.fork();
        if (typeof child === 'number') return;
        const own = { ...state, process: child };
        const isSent = (yield* send(own)) === 0;
        yield* remap(child);
        if (isSent) yield* send(own);
        else goal('refused');
        yield* child.exit();
        yield* state.process.exit();
        warnOn(isSent && hfiSent()[1] !== NEW, SENDS);
      },
    },
  },
  goals: ['refused'],
});

function closing(name: string, stage: 'sent' | 'tid', models: readonly string[]) {
  const what = stage === 'sent' ? 'a page in its cache' : 'a TID';
  return defineScenario<Hfi1State>({
    name,
    models,
    about: `a program ends with ${what}: the file is closed when its address space is gone`,
    variants: {
      'v5.3': { about: 'the file keeps the mm_struct', expect: CLEAN },
      'v5.10': {
        about:
          'the pin that goes with the notifier is the last, and then the page is given back to the mm',
        expect: { verdict: 'violation', kind: 'use-after-free', object: 'mm_struct' },
      },
      'v5.18':
        stage === 'sent'
          ? { about: 'keeps it until all pages are given back', expect: CLEAN }
          : {
              about: 'that was mended for caches only',
              expect: { verdict: 'violation', kind: 'use-after-free', object: 'mm_struct' },
            },
      fixed: { expect: CLEAN },
    },
    setup: (machine, variant) => prepare(machine, moduleOf(variant), stage),
    tasks: {
      program: {
        *run({ process }) {
          if (stage === 'sent') yield* hfiWaitDone(1);
          yield* process.exit();
          goal('over');
        },
      },
    },
    goals: ['over'],
  });
}

export const hfi1Close = closing('hfi1-close', 'sent', ['B-18', 'C7']);
export const hfi1CloseTid = closing('hfi1-close-tid', 'tid', ['A-160', 'C7']);

const TOLD = 'the program has what arrives, or is told that the TID is invalid';
const NOT_TOLD = { verdict: 'violation', kind: 'warn', object: TOLD } as const;

/** What arrives now: the program has it, or knows that it does not. */
function* arrives(state: Hfi1State, tid: number): Body<void> {
  if (tid < 0) {
    goal('refused');
    return;
  }
  yield* hfiReceive(tid, RECEIVED);
  const isThere = (yield* state.process.load(ADDRESS)) === RECEIVED;
  const isTold = ((yield* tidInvalid(state)) & (1 << tid)) !== 0;
  warnOn(!isThere && !isTold, TOLD);
  goal(isTold ? 'told' : 'there');
  yield* state.process.ioctl(state.fd, HFI1_IOCTL_TID_FREE, tid);
}

interface Receiver extends Hfi1State {
  /** What TID_UPDATE has returned. */
  readonly result: { tid: number };
}

function receiver(state: Hfi1State): Receiver {
  return { ...state, result: { tid: -1 } };
}

export const hfi1SetupRace = defineScenario<Receiver>({
  name: 'hfi1-setup-race',
  models: ['B-19', 'C1', 'A-161', 'A-165'],
  about:
    'a program has the adapter receive to a page, while another thread maps other memory there',
  variants: {
    'v5.3': { about: 'the page is pinned, and only then is it in the tree', expect: NOT_TOLD },
    'v5.10': { about: 'only then is there a notifier', expect: NOT_TOLD },
    'v6.2': {
      about:
        'the answer is read before a callback that has begun comes to it; the new notifier is not told either',
      expect: NOT_TOLD,
    },
    fixed: { about: 'removes the notifier of the whole, and then looks (ours)', expect: CLEAN },
  },
  setup: (machine, variant) => receiver(prepare(machine, moduleOf(variant), 'context')),
  tasks: {
    receive: {
      *run(state) {
        state.result.tid = yield* tidUpdate(state);
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['refused', 'told'],
  *finally(state) {
    yield* state.process.mmap(ADDRESS, PAGE_SIZE);
    yield* state.process.store(ADDRESS, NEW);
    yield* arrives(state, state.result.tid);
    yield* state.process.exit();
  },
});

export const hfi1Dropped = defineScenario<Receiver>({
  name: 'hfi1-dropped',
  models: ['A-162'],
  about:
    'a program drops a page that the adapter receives to (MADV_DONTNEED), and writes to it again',
  variants: {
    'v5.3': { about: 'acts on all that changes page tables', expect: CLEAN },
    'v5.10': { about: 'acts on munmap only', expect: NOT_TOLD },
    'v6.5': { about: 'the same', expect: NOT_TOLD },
    fixed: { expect: CLEAN },
  },
  setup: (machine, variant) => receiver(prepare(machine, moduleOf(variant), 'tid')),
  tasks: {
    program: {
      *run(state) {
        yield* remap(state.process, 'drop');
        yield* arrives(state, state.tid);
        yield* state.process.exit();
      },
    },
  },
  goals: ['told'],
});

const STALE = { verdict: 'violation', kind: 'warn', object: SENDS } as const;
/** The request that is not done uses a node that is no more. */
const FREED = { name: 'A-163', kind: 'use-after-free' } as const;

export const hfi1Stale = defineScenario<Hfi1State>({
  name: 'hfi1-stale-cache',
  models: ['B-20'],
  about: 'a program sends a page, maps other memory there, and sends that',
  variants: {
    'v5.3': {
      about: 'the adapter was not done, so the old page stayed in the cache, and is sent again',
      expect: STALE,
    },
    'v6.2': { about: 'the same', expect: STALE },
    'v6.5': { about: 'out of the cache, whoever uses it', expect: CLEAN },
    fixed: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'context'),
  tasks: {
    program: {
      *run(state) {
        yield* send(state);
        yield* remap(state.process);
        if ((yield* send(state)) === 0) goal('sent twice');
      },
    },
  },
  goals: ['sent twice'],
  *finally({ process }) {
    warnOn(hfiSent()[1] !== NEW, SENDS);
    yield* process.exit();
  },
});

export const hfi1CloseBusy = defineScenario<Hfi1State>({
  name: 'hfi1-close-busy',
  models: ['B-20'],
  about: 'a program sends a page and closes the file',
  variants: {
    'v5.3': {
      about: 'the cache is ended, and then requests that use it are waited for',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'sdma_mmu_node' },
    },
    'v6.2': {
      about: 'the same',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'sdma_mmu_node' },
    },
    'v6.5': { about: 'they are waited for first', expect: CLEAN },
    fixed: { expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'context'),
  tasks: {
    program: {
      *run(state) {
        yield* send(state);
        yield* state.process.close(state.fd);
        goal('closed');
      },
    },
  },
  goals: ['closed'],
  *finally({ process }) {
    yield* process.exit();
  },
});

export const hfi1LookUp = defineScenario<Hfi1State>({
  name: 'hfi1-lookup',
  models: ['A-163'],
  about: 'a program sends a page that is in the cache, while another thread unmaps it',
  variants: {
    'v5.3': {
      about: 'found under the lock, counted without it: start finds that nobody uses it',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'sdma_mmu_node' },
      alsoKnown: [FREED],
    },
    'v6.5': { about: 'counted as it is found', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'sent'),
  tasks: {
    send: {
      *run(state) {
        if ((yield* send(state)) === 0) goal('sent');
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['sent'],
});

export const hfi1Reaper = defineScenario<Hfi1State>({
  name: 'hfi1-reaper',
  models: ['A-164', 'I9'],
  about: 'the OOM reaper, which must not wait, comes to a page that the adapter receives to',
  variants: {
    'v5.3': { about: 'takes spinlocks only', expect: CLEAN },
    'v5.10': {
      about: 'takes a mutex',
      expect: {
        verdict: 'violation',
        kind: 'sleeping-in-atomic',
        object: 'mutex_lock(&tid_rb_node.invalidate_mutex)',
        invariant: 'I9',
      },
    },
    fixed: { about: 'tries to', expect: CLEAN },
  },
  setup: (machine, variant) => prepare(machine, moduleOf(variant), 'tid'),
  tasks: {
    reaper: {
      *run({ mm }) {
        yield* oomReapTaskMm(mm);
        goal('reaped');
      },
    },
  },
  goals: ['reaped'],
  *finally({ process, fd, tid }) {
    yield* process.ioctl(fd, HFI1_IOCTL_TID_FREE, tid);
    yield* process.exit();
  },
});

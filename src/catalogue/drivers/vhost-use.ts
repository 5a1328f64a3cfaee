/** vhost as programs use it: a ring that is written anew under the worker, whatever becomes of its pages. */
import { MADV_DONTNEED } from '../../base/mman.ts';
import { VHOST_NET_SET_BACKEND, VHOST_SET_OWNER, vhostWire } from '../../drivers/vhost/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { goal } from '../../kernel/choose.ts';
import type { Body } from '../../kernel/operation.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  ADDRESSES,
  CLEAN,
  IDX,
  kick,
  moduleOf,
  postRequest,
  prepare,
  SENT,
  setAddresses,
  unpin,
  USED,
  type VhostState,
} from './vhost-subject.ts';

const NEXT = 5;

/** What was sent is what was posted, in order; and the program sees how far the device is. */
function* compare({ process }: VhostState, posted: readonly number[]): Body<void> {
  const sent = vhostWire();
  warnOn(sent.join() !== posted.join(), `sent ${sent.join()}, posted ${posted.join()}`);
  const idx = yield* process.load(ADDRESSES.used + IDX);
  warnOn(idx !== posted.length, `used.idx is ${idx} of ${posted.length}`);
}

export const vhostUse = defineScenario<VhostState>({
  name: 'vhost-use',
  models: ['B-40'],
  about: 'a program puts a second request on the ring while the worker is at the first',
  variants: { fixed: { expect: CLEAN }, interval: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant) }),
  tasks: {
    program: {
      *run(state) {
        yield* postRequest(state, ADDRESSES, 1, NEXT);
        yield* kick(state);
        goal('kicked');
      },
    },
  },
  goals: ['kicked'],
  *finally(state) {
    yield* compare(state, [SENT, NEXT]);
    yield* state.process.exit();
    yield* unpin(state);
  },
});

export const vhostRewritten = defineScenario<VhostState>({
  name: 'vhost-rewritten',
  models: ['B-40'],
  about:
    'a program gives the page of the used ring back under the worker, and gets a new one at the next store',
  variants: { fixed: { expect: CLEAN }, interval: { expect: CLEAN } },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), stage: 'mapped' }),
  tasks: {
    program: {
      *run(state) {
        const { process } = state;
        yield* process.madvise(USED, PAGE_SIZE, MADV_DONTNEED);
        yield* postRequest(state, ADDRESSES, 0, SENT);
        yield* kick(state);
        goal('kicked');
      },
    },
  },
  goals: ['kicked'],
  *finally(state) {
    yield* compare(state, [SENT]);
    yield* state.process.exit();
    yield* unpin(state);
  },
});

export const vhostNoMemory = defineScenario<VhostState>({
  name: 'vhost-no-memory',
  models: ['B-40a'],
  about: 'any allocation may fail; what is refused is tried again',
  variants: { fixed: { expect: CLEAN }, interval: { expect: CLEAN } },
  faults: { allocations: 1 },
  setup: (machine, variant) => prepare(machine, { module: moduleOf(variant), stage: 'open' }),
  tasks: {
    program: {
      *run(state) {
        const { process, fd } = state;
        for (let attempt = 0; attempt < 2; attempt += 1) {
          if ((yield* process.ioctl(fd, VHOST_SET_OWNER)) === 0) break;
          goal('no owner');
        }
        for (let attempt = 0; attempt < 2; attempt += 1) {
          if ((yield* setAddresses(state, ADDRESSES)) === 0) break;
          goal('no ring');
        }
        yield* process.ioctl(fd, VHOST_NET_SET_BACKEND);
        yield* postRequest(state, ADDRESSES, 0, SENT);
        yield* kick(state);
      },
    },
  },
  goals: ['no owner', 'no ring'],
  *finally(state) {
    yield* compare(state, [SENT]);
    yield* state.process.exit();
    yield* unpin(state);
  },
});

export const VHOST_USE = [vhostUse, vhostRewritten, vhostNoMemory];

/** vhost's calls, what leaves by the device, and what an invalidation waits for (B-40h). */
import { expect, test } from 'vitest';
import { EBUSY, EFAULT, EINVAL, ENOTTY, EPERM } from '../../../src/base/errno.ts';
import { defineScenario } from '../../../src/catalogue/define-scenario.ts';
import {
  ADDRESSES,
  kick,
  moduleOf,
  postRequest,
  prepare,
  RING,
  SENT,
  setAddresses,
  unpin,
  USED,
} from '../../../src/catalogue/drivers/vhost-subject.ts';
import { OptimalDpor } from '../../../src/check/optimal-dpor.ts';
import { programOf } from '../../../src/check/scenario.ts';
import {
  VHOST_DEBUG_INVALIDATING,
  VHOST_DEVICE,
  VHOST_KICK,
  VHOST_SET_OWNER,
  vhostWire,
} from '../../../src/drivers/vhost/index.ts';
import { unloadModule } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { runOnMachine } from '../../util/machine.ts';

const VERSIONS = ['v5.3-rc', 'fixed', 'interval'];
const MENDED = ['fixed', 'interval'];

test.each(VERSIONS)('%s: calls without an owner, or by another process, are refused', (version) => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    machine.runNow(process.mmap(RING, 2 * PAGE_SIZE));
    machine.load(moduleOf(version));
    return [
      function* user() {
        const fd = yield* process.open(VHOST_DEVICE);
        expect(yield* process.ioctl(fd, VHOST_KICK)).toBe(-EPERM);
        expect(yield* process.ioctl(fd, VHOST_SET_OWNER)).toBe(0);
        expect(yield* process.ioctl(fd, VHOST_SET_OWNER)).toBe(-EBUSY);
        expect(yield* process.ioctl(fd, 'VHOST_NOTHING')).toBe(-ENOTTY);
        expect(yield* unloadModule(moduleOf(version))).toBeLessThan(0);
        const child = yield* process.fork();
        if (typeof child === 'number') throw new Error('fork failed');
        expect(yield* child.ioctl(fd, VHOST_KICK)).toBe(-EPERM);
        yield* child.exit();
        yield* process.exit();
        expect(yield* unloadModule(moduleOf(version))).toBe(0);
      },
    ];
  });
  expect(findings).toEqual([]);
});

test.each(MENDED)(
  '%s: a ring that is not aligned, or no memory of a program, is refused',
  (version) => {
    const { findings } = runOnMachine((machine) => {
      const state = prepare(machine, { module: moduleOf(version), stage: 'owned' });
      return [
        function* user() {
          expect(yield* setAddresses(state, { ...ADDRESSES, used: USED + 2 })).toBe(-EINVAL);
          expect(yield* setAddresses(state, { ...ADDRESSES, avail: RING + 1 })).toBe(-EINVAL);
          expect(yield* setAddresses(state, { ...ADDRESSES, desc: 0x7fff_ffff_f000 })).toBe(
            -EFAULT,
          );
          expect(yield* setAddresses(state, ADDRESSES)).toBe(0);
          expect(yield* state.process.ioctl(state.fd, VHOST_DEBUG_INVALIDATING)).toBe(0);
          yield* state.process.exit();
          yield* unpin(state);
        },
      ];
    });
    expect(findings).toEqual([]);
  },
);

test.each(VERSIONS)(
  '%s: what is posted is sent in order before the device is closed',
  (version) => {
    runOnMachine((machine) => {
      const state = prepare(machine, { module: moduleOf(version) });
      return [
        function* user() {
          yield* postRequest(state, ADDRESSES, 1, 12);
          yield* kick(state);
          yield* state.process.close(state.fd);
          expect(vhostWire()).toEqual([SENT, 12]);
          yield* unpin(state);
        },
      ];
    });
  },
);

/** In how many executions of munmap somebody waited for an RCU grace period, and in how many not. */
function gracePeriods(version: string, what: 'munmap' | 'move'): { waited: number; not: number } {
  const scenario = defineScenario<ReturnType<typeof prepare>>({
    name: 'latency',
    variants: { [version]: {} },
    setup: (machine) => prepare(machine, { module: moduleOf(version), stage: 'mapped' }),
    tasks: {
      program: {
        *run(state): Body<void> {
          if (what === 'munmap') yield* state.process.munmap(USED, PAGE_SIZE);
          else yield* setAddresses(state, ADDRESSES);
        },
      },
    },
    goals: [{ name: 'waited', calls: 'synchronize_rcu' }],
  });
  const counts = { waited: 0, not: 0 };
  new OptimalDpor(programOf(scenario, version), {
    watches: [],
    onExecution({ kernel }) {
      if (kernel.goals.has('waited')) counts.waited += 1;
      else counts.not += 1;
      return false;
    },
  }).run();
  return counts;
}

test.each(['munmap', 'move'] as const)(
  'every %s of a ring that is mapped waits for a grace period in v5.3-rc, and none does mended',
  (what) => {
    expect(gracePeriods('v5.3-rc', what)).toEqual({ waited: 1, not: 0 });
    for (const version of MENDED) {
      expect(gracePeriods(version, what)).toEqual({ waited: 0, not: 1 });
    }
  },
);

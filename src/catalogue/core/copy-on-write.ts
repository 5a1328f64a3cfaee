/** K20: hardware that walks the CPU's page tables, beside a copy on write. */
import { deviceFault, deviceRead, deviceWalkingOps } from '../../drivers/subscriber/index.ts';
import { goal } from '../../kernel/choose.ts';
import { setBehaviour } from '../../mm/behaviour.ts';
import type { Process } from '../../mm/process.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS, checkCoherence, unpin, withDevice, type DeviceState } from './subject.ts';

interface State extends DeviceState {
  /** Shares the page until one of them writes. */
  readonly child: Process;
}

const OLD_BYTE = 1;
const NEW_BYTE = 7;

export const copyOnWrite = defineScenario<State>({
  name: 'copy-on-write',
  models: ['K20', 'I8b'],
  about: 'two threads write to a page that fork has shared; one then asks the device to read there',
  variants: {
    late: {
      about:
        'hardware is told by the end: it has the old page while a thread writes to the new one',
      expect: { verdict: 'violation', kind: 'invariant', object: 'page', invariant: 'I8b' },
    },
    'v5.4': {
      about: 'it is told under the page-table lock, before the new entry is there',
      expect: { verdict: 'clean' },
    },
    'v6.6': {
      about: 'it is told by the flush of the TLBs',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    setBehaviour(machine, {
      invalidateRange: variant === 'v6.6' ? 'flush' : 'end',
      copyTellsHardware: variant === 'late' ? 'end' : 'locked',
    });
    const made = withDevice(machine, deviceWalkingOps);
    const child = machine.runNow(made.process.fork()) as Process;
    machine.runNow(deviceFault(made.device, made.mm, false));
    return { ...made, child };
  },
  tasks: {
    writer: {
      *run({ process }) {
        yield* process.store(ADDRESS, NEW_BYTE - 1);
      },
    },
    user: {
      *run({ process, device }) {
        yield* process.store(ADDRESS, NEW_BYTE);
        const byte = yield* deviceRead(device);
        checkCoherence(byte === OLD_BYTE, 'the device reads what the thread has overwritten');
        if (byte === -1) goal('the device has no translation any more');
      },
    },
  },
  goals: ['the device has no translation any more'],
  *finally(state) {
    yield* state.child.exit();
    yield* mmuNotifierUnregister(state.device.mn, state.mm);
    yield* unpin(state);
  },
});

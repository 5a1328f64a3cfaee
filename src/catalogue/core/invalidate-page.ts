/** B-28: when reclaim says that it has taken a page out of a page table. */
import { MADV_FREE } from '../../base/mman.ts';
import {
  deviceFault,
  deviceRead,
  devicePageOps,
  devicePageSlowOps,
} from '../../drivers/subscriber/index.ts';
import { goal } from '../../kernel/choose.ts';
import { setBehaviour } from '../../mm/behaviour.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmgetNotZero, mmput } from '../../mm-types/mm-struct.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS, checkCoherence, unpin, withDevice, type DeviceState } from './subject.ts';

const OLD_BYTE = 1;
const NEW_BYTE = 7;

export const lateInvalidatePage = defineScenario<DeviceState>({
  name: 'late-invalidate-page',
  models: ['B-28', 'I8b', 'I9'],
  about:
    'reclaim takes a page of MADV_FREE; a thread writes to its address, then asks the device to read there',
  variants: {
    'v4.11': {
      about:
        'invalidate_page after the page-table lock is dropped: the device still has the old page',
      expect: { verdict: 'violation', kind: 'invariant', object: 'page', invariant: 'I8b' },
    },
    'v4.12': {
      about: 'c7ab0d2fdc84: under that lock, where a callback that sleeps must not be called',
      expect: {
        verdict: 'violation',
        kind: 'sleeping-in-atomic',
        object: 'mutex_lock(&device.commands)',
        invariant: 'I9',
      },
    },
    'fixed-v4.14': {
      about: 'start before the entry is cleared, and end after the lock is dropped; both may sleep',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    const modes = { 'v4.11': 'page-after', 'v4.12': 'page-locked' } as const;
    setBehaviour(machine, {
      unmapNotifies: modes[variant as keyof typeof modes] ?? 'range',
      invalidateRange: 'end',
    });
    const made = withDevice(machine, variant === 'v4.12' ? devicePageSlowOps : devicePageOps);
    machine.runNow(made.process.madvise(ADDRESS, PAGE_SIZE, MADV_FREE));
    // To read: the page stays clean, so that it may be dropped.
    machine.runNow(deviceFault(made.device, made.mm, false));
    return made;
  },
  tasks: {
    reclaim: {
      *run({ mm }) {
        if (!(yield* mmgetNotZero(mm))) return;
        if (yield* reclaimPage(mm, ADDRESS, true)) goal('the page was reclaimed');
        yield* mmput(mm);
      },
    },
    user: {
      *run({ process, device }) {
        yield* process.store(ADDRESS, NEW_BYTE);
        const byte = yield* deviceRead(device);
        checkCoherence(byte === OLD_BYTE, 'the device reads a page that was replaced');
        if (byte === NEW_BYTE) goal('the device read what was written');
      },
    },
  },
  goals: ['the page was reclaimed', 'the device read what was written'],
  *finally(state) {
    yield* mmuNotifierUnregister(state.device.mn, state.mm);
    yield* unpin(state);
  },
});

/**
 * Patch 9: amdkfd's open fails after it has registered its notifier, while another thread unmaps.
 *
 * In v5.3 the unwind frees the process without waiting for those who walk the mm's notifiers. The same
 * path has two more defects, each a variant of its own.
 */
import { PAGE_SIZE } from '../../mm/vma.ts';
import {
  amdkfdSeries,
  amdkfdV53,
  amdkfdV53Procfs,
  KFD_DEVICE,
} from '../../drivers/amdkfd/index.ts';
import { goal } from '../../kernel/choose.ts';
import type { Process } from '../../mm/process.ts';
import { defineScenario } from '../define-scenario.ts';

const MODULES = {
  'v5.3': amdkfdV53,
  'v5.3-procfs': amdkfdV53Procfs,
  'v5.3-lead-thread': amdkfdV53,
  series: amdkfdSeries,
} as const;

const ADDRESS = 0x40_0000;

interface State {
  readonly process: Process;
}

export const kfdUnregister = defineScenario<State>({
  name: 'kfd-unregister',
  models: ['patch 9', 'B-5', 'K1'],
  about: 'open of /dev/kfd fails after registering its mmu notifier, while another thread unmaps',
  variants: {
    'v5.3': {
      about: 'the unwind frees the notifier without an SRCU grace period',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'kfd_process' },
    },
    'v5.3-procfs': {
      about: 'with /sys/class/kfd/kfd/proc: the caller stores into an ERR_PTR',
      expect: {
        verdict: 'violation',
        kind: 'err-ptr-dereference',
        object: 'ERR_PTR(-ENOMEM)',
      },
    },
    'v5.3-lead-thread': {
      about: 'the process exits afterwards: the unwind kept the lead thread',
      expect: { verdict: 'violation', kind: 'leak', object: 'task_struct' },
    },
    series: {
      about: 'registration is last, nothing after it is unwound',
      expect: { verdict: 'clean' },
    },
  },
  faults: { allocations: 1 },
  setup(machine, variant) {
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    machine.load(MODULES[variant as keyof typeof MODULES]);
    return { process };
  },
  tasks: {
    open: {
      cpu: 0,
      *run({ process }, variant) {
        const fd = yield* process.open(KFD_DEVICE);
        if (fd < 0) {
          goal('open failed');
          if (process.mm!.mmuNotifierMm !== null) goal('open failed after registration');
        }
        // In v5.3 the exit would show the forgotten lead thread first.
        if (variant === 'series' || variant === 'v5.3-lead-thread') yield* process.exit();
      },
    },
    munmap: {
      cpu: 1,
      *run({ process }, variant) {
        // The other two defects need nobody else.
        if (variant === 'v5.3' || variant === 'series') yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: [
    'open failed',
    'open failed after registration',
    { name: 'munmap walked the list', calls: '__mmu_notifier_invalidate_range_start' },
  ],
});

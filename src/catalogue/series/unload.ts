/**
 * Patches 3 and 11: a module ends its subscriber and goes, while another thread unmaps.
 *
 * In v5.3 what ends without release is freed by `mmu_notifier_call_srcu`, with a callback in the module, and there
 * is nothing for module exit to wait with. The series has `mmu_notifier_synchronize`, for who puts.
 */
import {
  subscriber,
  subscriberGet,
  subscriberOps,
  subscriberPut,
  type Subscriber,
} from '../../drivers/subscriber/index.ts';
import {
  subscriberOpsV53,
  subscriberPutV53,
  subscriberRegisterV53,
  type SubscriberV53,
} from '../../drivers/subscriber/before-series.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule, type ModuleType } from '../../kernel/module.ts';
import { ptr } from '../../kernel/struct.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import { defineScenario } from '../define-scenario.ts';

const ADDRESS = 0x40_0000;

const globals = subscriber.data({
  /** The one that the module has, of its version. */
  mine: ptr<Subscriber | SubscriberV53>(),
});

const V53 = subscriber.module({
  data: globals,
  exit: subscriber.fn(
    function* exitV53() {
      yield* subscriberPutV53(globals().mine as SubscriberV53);
    },
    { name: 'subscriber_exit' },
  ),
});

function putting(waits: boolean) {
  return subscriber.module({
    data: globals,
    exit: subscriber.fn(
      function* exitPutting() {
        yield* subscriberPut(globals().mine as Subscriber);
        if (waits) yield* mmuNotifierSynchronize();
      },
      { name: 'subscriber_exit' },
    ),
  });
}

const MODULES = {
  'v5.3': V53,
  'series-no-wait': putting(false),
  series: putting(true),
} as unknown as Readonly<Record<string, ModuleType>>;

interface State {
  readonly process: Process;
  readonly module: ModuleType;
}

export const unload = defineScenario<State>({
  name: 'unload',
  models: ['patch 11', 'patch 3', 'I12'],
  about: 'a module ends its subscriber and is unloaded, while another thread unmaps',
  variants: {
    'v5.3': {
      about: 'unregister_no_release and call_srcu: nothing to wait with',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'subscriber' },
    },
    'series-no-wait': {
      about: 'put, and module exit forgets to wait',
      expect: { verdict: 'violation', kind: 'unloaded-code', object: 'subscriber' },
    },
    series: {
      about: 'put, then mmu_notifier_synchronize; on one CPU (see A-13 for two)',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    const module = MODULES[variant] as ModuleType;
    machine.load(module);
    const mm = process.mm!;
    globals().mine = (
      variant === 'v5.3'
        ? machine.runNow(subscriberRegisterV53(mm, subscriberOpsV53))
        : machine.runNow(subscriberGet(mm, subscriberOps))
    ) as Subscriber | SubscriberV53;
    return { process, module };
  },
  tasks: {
    rmmod: {
      cpu: 0,
      *run({ module }) {
        if ((yield* unloadModule(module)) === 0) goal('unloaded');
      },
    },
    munmap: {
      cpu: 1,
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: [
    'unloaded',
    { name: 'the subscriber was called', calls: 'subscriber_invalidate_range_start' },
  ],
});

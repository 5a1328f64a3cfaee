/** The sample driver: its calls, and the modules that a scenario can load. */
import type { KernelCallable } from '../../kernel/call.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import { subscriber } from './subscriber.ts';

export * from './device.ts';
export * from './interval.ts';
export * from './subscriber.ts';

const { fn } = subscriber;

/** The module, with what its exit waits for. */
export function subscriberModule(wait: KernelCallable<[], void> | null): ModuleType {
  return subscriber.module({
    exit: fn(function* subscriberExit() {
      if (wait !== null) yield* wait();
    }),
  }) as unknown as ModuleType;
}

/** As the series wants modules that put: exit waits until their ops are no longer called. */
export const subscriberSeries = subscriberModule(mmuNotifierSynchronize);

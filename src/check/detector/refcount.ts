/** Reference counters: taken from zero, put below zero, saturated. The counter says which. */
import type { Kernel } from '../../kernel/kernel.ts';
import type { KernelObject } from '../../kernel/memory.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds misuse of reference counters. */
export function refcount(): Watch {
  return { onCounterMisuse };
}

function onCounterMisuse(kernel: Kernel, counter: KernelObject, what: string): void {
  kernel.report({
    kind: 'refcount',
    object: counter.path,
    message: `${counter.path}: ${what}, in ${kernel.place()}`,
    memory: counter.memory,
  });
}

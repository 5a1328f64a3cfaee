/** Double free: memory is freed whose life has ended already. */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Memory } from '../../kernel/memory.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds memory that is freed twice. The kernel ends the task that does it. */
export function doubleFree(): Watch {
  return { onDoubleFree };
}

function onDoubleFree(kernel: Kernel, memory: Memory): void {
  const freedBy = memory.freed?.place ?? '';
  kernel.report({
    kind: 'double-free',
    object: memory.name,
    message: `${memory.name} is freed by ${kernel.place()} after it was freed by ${freedBy}`,
    memory,
    otherPlace: freedBy,
    witnesses: memory.freed === null ? [] : [memory.freed.step],
  });
}

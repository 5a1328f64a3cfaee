/** Dereference of an ERR_PTR: an error number that nobody tested for is used as a pointer. */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds dereferences of error pointers. The kernel ends the task that does it. */
export function errPtrDereference(): Watch {
  return { onBadPointer };
}

function onBadPointer(kernel: Kernel, pointer: string, use: string): void {
  if (pointer === 'NULL') return;
  kernel.report({
    kind: 'err-ptr-dereference',
    object: pointer,
    message: `${kernel.place()} dereferences ${pointer}: ${use}`,
  });
}

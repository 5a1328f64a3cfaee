/**
 * Dereference of NULL. Only what is read or written through the pointer counts; computing the
 * address of something inside does not, as in C.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds dereferences of NULL. The kernel ends the task that does it. */
export function nullDereference(): Watch {
  return { onBadPointer };
}

function onBadPointer(kernel: Kernel, pointer: string, use: string): void {
  if (pointer !== 'NULL') return;
  kernel.report({
    kind: 'null-dereference',
    object: pointer,
    message: `${kernel.place()} dereferences NULL: ${use}`,
  });
}

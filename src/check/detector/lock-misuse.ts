/** Locks that are released by who does not hold them, or kept by who has ended. */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds misuse of locks. */
export function lockMisuse(): Watch {
  return { onLockMisuse };
}

function onLockMisuse(kernel: Kernel, lock: string, what: string): void {
  kernel.report({
    kind: 'lock-misuse',
    object: lock,
    message: `${lock}: ${what}, in ${kernel.place()}`,
  });
}

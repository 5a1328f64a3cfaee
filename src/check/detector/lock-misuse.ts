/** Locks that are released by who does not hold them, or kept by who has ended. */
import { stackNames } from '../../kernel/held-lock.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { HeldLock } from '../../kernel/task.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds misuse of locks. */
export function lockMisuse(): Watch {
  return { onLockMisuse };
}

function onLockMisuse(kernel: Kernel, lock: string, what: string, held: HeldLock | null): void {
  if (held !== null) {
    const takenBy = stackNames(held.frame).at(-1) ?? '';
    kernel.report({
      kind: 'lock-misuse',
      object: lock,
      message: `${lock}: ${what}; it was taken in ${takenBy}`,
      otherPlace: takenBy,
      witnesses: held.step < 0 ? [] : [held.step],
    });
    return;
  }
  kernel.report({
    kind: 'lock-misuse',
    object: lock,
    message: `${lock}: ${what}, in ${kernel.place()}`,
  });
}

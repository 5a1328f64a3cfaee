/**
 * WARN_ON and the assertions of lockdep, which warn as well: the kernel complains, and the task
 * goes on.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { AssertionGrade, Watch } from '../../kernel/watch.ts';

/** Finds every WARN_ON that fires and every lockdep assertion that does not hold. */
export function warn(): Watch {
  return { onAssertion };
}

function onAssertion(kernel: Kernel, grade: AssertionGrade, condition: string): void {
  if (grade === 'BUG_ON') return;
  const what =
    grade === 'WARN_ON' ? `WARN_ON(${condition}) fires in` : `${condition} does not hold in`;
  kernel.report({ kind: 'warn', object: condition, message: `${what} ${kernel.place()}` });
}

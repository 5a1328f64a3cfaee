/** BUG_ON: the kernel's own assertion that ends the task. */
import type { Kernel } from '../../kernel/kernel.ts';
import type { AssertionGrade, Watch } from '../../kernel/watch.ts';

/** Finds every BUG_ON that fires. */
export function bug(): Watch {
  return { onAssertion };
}

function onAssertion(kernel: Kernel, grade: AssertionGrade, condition: string): void {
  if (grade !== 'BUG_ON') return;
  kernel.report({
    kind: 'bug',
    object: condition,
    message: `BUG_ON(${condition}) fires in ${kernel.place()}`,
  });
}

/** Code of a module that was unloaded: a function of it is called, or goes on. */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds tasks in the text of an unloaded module. The kernel ends the task. */
export function unloadedCode(): Watch {
  return { onUnloadedCode };
}

function onUnloadedCode(kernel: Kernel, functionName: string, moduleName: string): void {
  kernel.report({
    kind: 'unloaded-code',
    object: moduleName,
    message: `${functionName} runs after its module ${moduleName} was unloaded`,
    place: functionName,
  });
}

/**
 * Use after free: memory is touched whose life has ended. The finding tells what was touched and
 * who ended the life; the free is a witness, since a plain access is ordered with nothing.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Memory } from '../../kernel/memory.ts';
import type { Use, Watch } from '../../kernel/watch.ts';

/** Finds uses of memory that was freed. The kernel ends the task that does it. */
export function useAfterFree(): Watch {
  return { onDeadAccess };
}

function onDeadAccess(kernel: Kernel, memory: Memory, use: Use): void {
  const freedBy = memory.freed?.place ?? '';
  kernel.report({
    kind: 'use-after-free',
    object: memory.name,
    message: `${deed(use, kernel.place())} after ${memory.name} was freed by ${freedBy}`,
    memory,
    otherPlace: freedBy,
    witnesses: memory.freed === null ? [] : [memory.freed.step],
  });
}

function deed(use: Use, place: string): string {
  return use.verb === 'run'
    ? `${place} runs ${use.path}`
    : `${use.path} is ${use.verb} by ${place}`;
}

/** What can happen in a program: the goals reached and the mistakes noticed, over all executions. */
import { SourceDpor } from '../../src/check/source-dpor.ts';
import type { Program } from '../../src/check/program.ts';
import type { Watch } from '../../src/kernel/watch.ts';

/** Reports what the kernel's hooks say, each in a few words; finds nothing by itself. */
export function reporter(): Watch {
  return {
    onDeadAccess: (kernel, memory, use) =>
      kernel.report({
        kind: 'use-after-free',
        object: memory.name,
        message: `${use.path} is ${use.verb}`,
      }),
    onDoubleFree: (kernel, memory) =>
      kernel.report({ kind: 'double-free', object: memory.name, message: 'freed twice' }),
    onBadPointer: (kernel, pointer, use) =>
      kernel.report({ kind: 'null-dereference', object: pointer, message: use }),
    onLockMisuse: (kernel, lock, what) =>
      kernel.report({ kind: 'lock-misuse', object: lock, message: what }),
    onCounterMisuse: (kernel, counter, what) =>
      kernel.report({ kind: 'refcount', object: counter.path, message: what }),
    onAssertion: (kernel, grade, condition) =>
      kernel.report({
        kind: grade === 'BUG_ON' ? 'bug' : 'warn',
        object: grade,
        message: condition,
      }),
    onMaySleep: (kernel, task, what) =>
      kernel.report({
        kind: 'sleeping-in-atomic',
        object: what,
        message: task.atomicReason() ?? '',
      }),
    onStuck: (kernel, blocked) =>
      kernel.report({
        kind: 'deadlock',
        object: blocked
          .map((task) => {
            const owners = task.pending?.blockers(task) ?? [];
            return `${task.name} waits for ${owners.map((owner) => owner.name).join(', ')}`;
          })
          .toSorted()
          .join('; '),
        message: 'stuck',
        isGlobal: true,
      }),
  };
}

/**
 * Explores `program` and returns the different outcomes, sorted: of each execution the goals reached
 * and `kind: message` of what was found, joined by commas, or `nothing`.
 */
export function outcomes(program: Program): string[] {
  const seen = new Set<string>();
  new SourceDpor(program, {
    watches: [reporter()],
    onExecution: ({ kernel }) => {
      const found = kernel.findings.map(({ kind, object, message }) =>
        kind === 'deadlock' ? `deadlock: ${object}` : `${kind}: ${message}`,
      );
      const all = [...kernel.goals, ...found].toSorted();
      seen.add(all.length === 0 ? 'nothing' : [...new Set(all)].join(', '));
      return false;
    },
  }).run();
  return [...seen].toSorted();
}

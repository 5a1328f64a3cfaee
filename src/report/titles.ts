/** What people call findings and tasks. */
import type { FindingKind } from '../kernel/finding.ts';

const KIND_NAMES: Readonly<Record<FindingKind, string>> = {
  'use-after-free': 'use after free',
  'double-free': 'double free',
  leak: 'leak',
  'null-dereference': 'NULL pointer dereference',
  'err-ptr-dereference': 'ERR_PTR dereference',
  'data-race': 'data race',
  deadlock: 'deadlock',
  livelock: 'livelock',
  'lock-order': 'possible deadlock',
  'irq-inversion': 'possible deadlock with an interrupt',
  'sleeping-in-atomic': 'sleeping function in atomic context',
  refcount: 'misuse of a reference counter',
  bug: 'BUG',
  warn: 'WARNING',
  'unloaded-code': 'unloaded code runs',
  'lock-misuse': 'misuse of a lock',
  invariant: 'broken invariant',
};

/** How the object follows the name of the kind; a colon where not listed. */
const LINKS: Partial<Record<FindingKind, string>> = {
  'use-after-free': ' of ',
  'double-free': ' of ',
  leak: ' of ',
  'data-race': ' on ',
  deadlock: ' on ',
  livelock: ' on ',
  'lock-order': ' on ',
  'irq-inversion': ' on ',
};

/** `use after free`. */
export function kindName(kind: FindingKind): string {
  return KIND_NAMES[kind];
}

/** `use after free of kfd_process`, `BUG: atomic_read(&mm->mm_users) <= 0`. */
export function titleOf(finding: { readonly kind: FindingKind; readonly object: string }): string {
  const name = KIND_NAMES[finding.kind];
  return finding.object === '' ? name : `${name}${LINKS[finding.kind] ?? ': '}${finding.object}`;
}

/** `CPU0 (open)`, or just `srcu callback` for a task whose CPU nobody named. */
export function taskTitle(task: { readonly name: string; readonly cpu: number | null }): string {
  return task.cpu === null ? task.name : `CPU${task.cpu} (${task.name})`;
}

/** `step 12`, counted from 1; null is before the first step of the task. */
export function stepTitle(step: number | null): string {
  return step === null ? 'before its first step' : `step ${step + 1}`;
}

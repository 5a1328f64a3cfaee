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

/** What each kind is, as docs/findings.md says it. */
const KIND_ABOUT: Readonly<Record<FindingKind, string>> = {
  'use-after-free': 'memory is read, written or run after it was freed',
  'double-free': 'memory is freed that was freed',
  leak: 'memory is left that nobody can reach any more',
  'null-dereference': 'NULL is dereferenced',
  'err-ptr-dereference': 'an ERR_PTR is dereferenced',
  'data-race':
    'two tasks access a field, one writes, one of the accesses is plain, and nothing orders them',
  deadlock: 'tasks wait for each other, or for what never comes, and nothing else can go on',
  livelock: 'tasks take steps for ever and none of them gets anywhere',
  'lock-order': 'locks are taken in orders that can deadlock, whether or not an execution does',
  'irq-inversion':
    'a lock of an interrupt handler is held with interrupts on, or comes before one that is',
  'sleeping-in-atomic':
    'something that may sleep is called where sleeping is forbidden; the report shows what forbade it, where',
  refcount: 'a reference counter is taken from 0, put below it, or saturated',
  bug: 'a BUG_ON, WARN_ON or lockdep assertion of the kernel fires',
  warn: 'a BUG_ON, WARN_ON or lockdep assertion of the kernel fires',
  'unloaded-code': 'a function of a module runs after the module was unloaded',
  'lock-misuse':
    'a lock is released by who does not hold it, or kept by a task that ends; the report shows where it took it',
  invariant: 'an invariant of the notifier core is broken',
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

/** `memory is freed that was freed`. */
export function kindAbout(kind: FindingKind): string {
  return KIND_ABOUT[kind];
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

/**
 * The invariants of the notifier core: what each says, and where it is stated. A detector that finds one
 * broken names it; so does a finding of the kernel's detectors that comes of it.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Memory } from '../../kernel/memory.ts';
import type { Breach } from '../../kernel/watch.ts';

interface Statement {
  readonly says: string;
  readonly source: string;
}

export const INVARIANTS = {
  I1: {
    says:
      'no callback of a notifier runs after unregister returned, after free_notifier was called, ' +
      'or after the removal of an interval notifier returned',
    source: 'mm/mmu_notifier.c, mmu_notifier_unregister and mmu_notifier_put; 6d7c3cde93c1',
  },
  I2: {
    says:
      'what alloc_notifier made gets free_notifier once: at once and without mmdrop if registering it ' +
      'failed; otherwise when no SRCU reader from before its unlinking is left, and then one mmdrop',
    source: 'patch 3; include/linux/mmu_notifier.h, free_notifier',
  },
  I3: {
    says:
      'a notifier of mmu_notifier_get has users exactly as long as it is on the list, until the ' +
      'release of the mm unlinks it; users never wrap, and a put without one is a warning',
    source: 'patch 3; mm/mmu_notifier.c, mmu_notifier_get_locked and mmu_notifier_put',
  },
  I4: {
    says:
      'at most one notifier of mmu_notifier_get is on the list for an mm and an ops table, and ' +
      'none is registered with the same table directly',
    source: 'patch 3; mm/mmu_notifier.c, mmu_notifier_get_locked',
  },
  I5: {
    says: 'nothing is registered once the mm has no users, and who registers holds one throughout',
    source: 'mm/mmu_notifier.c, __mmu_notifier_register and mmu_notifier_get_locked; a4e63bce1414',
  },
  I6: {
    says:
      'the release of every notifier that is there when exit_mmap starts has returned before the ' +
      'first page goes, whoever called it',
    source: 'mm/mmu_notifier.c, __mmu_notifier_release; d34883d4e35c',
  },
  I7: {
    says:
      'no end without a start, and as many ends as successful starts as long as the notifier is on ' +
      'the list, also where another one failed',
    source: 'include/linux/mmu_notifier.h, invalidate_range_start; c2655835fd8c',
  },
  I8a: {
    says: 'no translation of a CPU or device reaches a page that is free or belongs to another owner',
    source: 'Documentation/mm/mmu_notifier.rst',
  },
  I8b: {
    says:
      'where a driver keeps its translations by invalidate_range_start, none from before it is used ' +
      'until the end of the range; where by invalidate_range, none from before it once it returned',
    source:
      'include/linux/mmu_notifier.h, invalidate_range_start, invalidate_range_end, invalidate_range',
  },
  I9: {
    says:
      'nothing blocks in a callback of a range that is not blockable, under a page-table lock, or ' +
      'in free_notifier',
    source: 'include/linux/mmu_notifier.h, mmu_notifier_ops; 93065ac753e4',
  },
  I10: {
    says:
      'the interval tree does not change while the sequence is odd; without an active range the ' +
      'sequence is even and nothing is deferred; whoever waits for it wakes',
    source: 'mm/mmu_notifier.c, mn_itree_inv_end and mmu_interval_notifier_remove; 99cb252f5e68',
  },
  I11: {
    says:
      "a callback, or who holds a lock that callbacks take, never waits for the notifiers' SRCU " +
      'domain, unregisters, or removes an interval notifier',
    source: 'mm/mmu_notifier.c, mmu_notifier_unregister; include/linux/mmu_notifier.h, release',
  },
  I12: {
    says: 'no function of a module is called after its exit returned, free_notifier included',
    source: 'patch 3; mm/mmu_notifier.c, mmu_notifier_synchronize',
  },
} as const satisfies Record<string, Statement>;

export type Invariant = keyof typeof INVARIANTS;

/** The invariant with what it says, as a finding carries it. */
export function breachOf(invariant: Invariant): Breach {
  const { says, source } = INVARIANTS[invariant];
  return { invariant, explanation: `${invariant}: ${says} (${source}).` };
}

/** What a detector has to say about a broken invariant. */
export interface Breaking {
  /** The struct that suffered, by its kernel name. */
  readonly object: string;
  readonly message: string;
  readonly memory?: Memory;
  /** The two functions concerned; they tell breaches of one invariant apart. */
  readonly place: string;
  readonly otherPlace?: string;
  readonly witnesses?: readonly number[];
  /** True if it shows only when all is over. */
  readonly isGlobal?: boolean;
}

/** Reports that an invariant is broken. The task goes on. */
export function reportBroken(kernel: Kernel, invariant: Invariant, breaking: Breaking): void {
  kernel.report({ kind: 'invariant', ...breachOf(invariant), ...breaking });
}

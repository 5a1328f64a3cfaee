/**
 * What the kernel's own detectors find where an invariant of the core is broken, by its consequence: the
 * finding is theirs, and says which invariant it breaks.
 *
 *   use after free   of a notifier, by who walks the list or is in a callback     I1
 *                    of a page, through a translation                             I8a
 *   sleeping         in a callback                                                I9
 *   deadlock         on the notifiers' SRCU domain, or of a callback that waits
 *                    for callbacks (also by ending an mm)                         I11
 *   unloaded code    of a callback                                                I12
 */
import type { Report } from '../../kernel/finding.ts';
import type { Breach } from '../../kernel/watch.ts';
import { MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP } from '../mmu-notifier.ts';
import { WAITERS } from './interval-state.ts';
import { breachOf, type Invariant } from './invariant.ts';
import type { Ledger, Rule } from './ledger.ts';

/** Its path, and not the thing itself: where there is none yet, asking would make it. */
const NOTIFIER_SRCU = 'mmu_notifier.srcu';
const FS_RECLAIM = 'fs_reclaim';
/** Its release waits for all callbacks: a callback that ends an mm waits for itself. */
const EXIT = 'exit_mmap';
const WALK = /^__mmu_notifier_|^mn_/;

export class Consequence implements Rule {
  private readonly ledger: Ledger;

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  classify(report: Report): Breach | null {
    const invariant = this.invariantOf(report);
    return invariant === null ? null : breachOf(invariant);
  }

  private invariantOf(report: Report): Invariant | null {
    switch (report.kind) {
      case 'use-after-free':
        if (report.memory?.name === 'page') return 'I8a';
        return this.isNotifier(report) && this.isTold() ? 'I1' : null;
      case 'sleeping-in-atomic':
        return this.isInCallback() ? 'I9' : null;
      case 'unloaded-code':
        return this.isInCallback() ? 'I12' : null;
      case 'deadlock':
        return this.isDeadlocked(report) ? 'I11' : null;
      case 'lock-order':
        return this.isWaitInOrder(report) ? 'I11' : null;
      default:
        return null;
    }
  }

  /** Whether somebody waits for the readers, or a callback for the end of its own invalidation. */
  private isDeadlocked({ object }: Report): boolean {
    if (object.split(', ').includes(NOTIFIER_SRCU)) return true;
    return this.ledger.kernel.tasks.some(
      (task) =>
        !task.isDone &&
        this.ledger.callbackOf(task) !== null &&
        task.frames.some(({ callee: { name } }) => WAITERS.has(name) || name === EXIT),
    );
  }

  /** The same as lockdep sees it. Allocating in a callback is another matter. */
  private isWaitInOrder({ locking }: Report): boolean {
    const resources = locking?.resources ?? [];
    if (resources.includes(NOTIFIER_SRCU)) return true;
    const { name } = MMU_NOTIFIER_INVALIDATE_RANGE_START_MAP;
    return resources.includes(name) && !resources.includes(FS_RECLAIM);
  }

  /** Whether the memory is that of a notifier, or of what embeds one. */
  private isNotifier({ memory }: Report): boolean {
    for (const { notifier } of this.ledger.records.values()) {
      if (notifier.memory === memory) return true;
    }
    return false;
  }

  /** Whether the current task walks the list, or is in what that has called. */
  private isTold(): boolean {
    const { currentTask } = this.ledger.kernel;
    return this.isInCallback() || currentTask.frames.some(({ callee }) => WALK.test(callee.name));
  }

  private isInCallback(): boolean {
    return this.ledger.callbackOf(this.ledger.kernel.currentTask) !== null;
  }
}

/**
 * How the notifier core behaves where kernels differ. The default is the core as the series leaves it (v5.4), and
 * for interval notifiers, which it does not have yet, the core with their later fixes. A scenario's variant says
 * otherwise when it boots: `bootMachine({ …, notifiers: { pairsNonBlockable: true } })`.
 *
 * Each switch names the commit or version that made the difference.
 */
import { perKernel, type Kernel } from '../kernel/kernel.ts';

/** Where versions of the notifier core differ: one switch for each difference. */
export interface NotifierBehaviour {
  /**
   * When a callback refuses a range that is not blockable, all notifiers get the end at once: those that had
   * succeeded need it (c2655835fd8c, v5.12). Before, nobody got one.
   */
  readonly pairsNonBlockable: boolean;
  /** Start, end and exit leave out an empty list, the grace period of exit included (99cb252f5e68, v5.5). */
  readonly skipsEmptyList: boolean;
  /**
   * The removal of an interval notifier looks at the sequence under the lock, so that it does not return between
   * the sequence becoming even and the removals that were put off (319561669a59, v5.18).
   */
  readonly removeLooksLocked: boolean;
  /** What an insertion takes for a sign that the mm is alive: mm_count in v5.5 to v5.9, mm_users in v6.1. */
  readonly insertTests: 'mm_count' | 'mm_users';
  /**
   * A start that a list notifier refuses undoes what it did to the interval notifiers. No kernel that was looked
   * at does (v5.5 to v6.1).
   */
  readonly undoesIntervals: boolean;
}

/** The series (v5.4), and interval notifiers with their fixes. */
export const NOTIFIERS_SERIES: NotifierBehaviour = {
  pairsNonBlockable: false,
  skipsEmptyList: false,
  removeLooksLocked: true,
  insertTests: 'mm_users',
  undoesIntervals: false,
};

/** v5.5: interval notifiers as they came. */
export const NOTIFIERS_5_5: NotifierBehaviour = {
  pairsNonBlockable: false,
  skipsEmptyList: true,
  removeLooksLocked: false,
  insertTests: 'mm_count',
  undoesIntervals: false,
};

/** v6.1. */
export const NOTIFIERS_6_1: NotifierBehaviour = {
  ...NOTIFIERS_5_5,
  pairsNonBlockable: true,
  removeLooksLocked: true,
  insertTests: 'mm_users',
};

class BehaviourSlot {
  value: NotifierBehaviour = NOTIFIERS_SERIES;
}

const slot = perKernel(() => new BehaviourSlot());

/** The notifier core's behaviour on a machine. */
export function notifierBehaviourOf(kernel: Kernel): NotifierBehaviour {
  return slot(kernel).value;
}

/** Sets some switches; the others are those of the series. For booting. */
export function setNotifierBehaviour(kernel: Kernel, switches: Partial<NotifierBehaviour>): void {
  slot(kernel).value = { ...NOTIFIERS_SERIES, ...switches };
}

/**
 * I10: the tree of interval notifiers stands still while the sequence is odd, and comes to rest when no range is
 * active. Looked at whenever somebody gets the lock, and at the end.
 */
import type { HlistNode } from '../../kernel/hlist.ts';
import type { IntervalTreeNode } from '../../kernel/interval-tree.ts';
import type { Report } from '../../kernel/finding.ts';
import type { Breach } from '../../kernel/watch.ts';
import type { MmuNotifierMm } from '../mmu-notifier.ts';
import { breachOf, reportBroken } from './invariant.ts';
import type { Ledger, Rule } from './ledger.ts';
import { rawField } from './record.ts';

/** What the one before has left under the lock. */
interface Snapshot {
  readonly seq: number;
  readonly nodes: ReadonlySet<IntervalTreeNode>;
}

/** Functions that wait for the sequence to go on. */
export const WAITERS: ReadonlySet<string> = new Set([
  'mmu_interval_notifier_remove',
  'mmu_interval_read_begin',
]);

export class IntervalState implements Rule {
  private readonly ledger: Ledger;
  private readonly snapshots = new Map<MmuNotifierMm, Snapshot>();
  private readonly reported = new Set<string>();

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  onListLocked(notifiers: MmuNotifierMm): void {
    const before = this.snapshots.get(notifiers);
    const seq = rawField(notifiers, 'invalidateSeq') as number;
    if (before === undefined && rawField(notifiers, 'hasItree') === false) return;
    const nodes = nodesOf(notifiers);
    this.snapshots.set(notifiers, { seq, nodes });
    this.checkRest(notifiers, false);
    if (before === undefined || before.seq % 2 === 0) return;
    if (before.seq !== seq) {
      if (rawField(notifiers, 'activeInvalidateRanges') === 0) return;
      this.report('the sequence has gone on while a range is active', notifiers, false);
      return;
    }
    if (isSame(before.nodes, nodes)) return;
    this.report('the interval tree has changed while the sequence is odd', notifiers, false);
  }

  onOver(): void {
    for (const notifiers of this.snapshots.keys()) {
      const active = rawField(notifiers, 'activeInvalidateRanges') as number;
      if (active === 0) this.checkRest(notifiers, true);
      else this.report(`all is over and ${active} ranges are still active`, notifiers, true);
    }
  }

  classify({ kind }: Report): Breach | null {
    if (kind !== 'deadlock') return null;
    const isWaiting = this.ledger.kernel.tasks.some(
      ({ isDone, frames }) => !isDone && frames.some(({ callee }) => WAITERS.has(callee.name)),
    );
    return isWaiting ? breachOf('I10') : null;
  }

  private checkRest(notifiers: MmuNotifierMm, isGlobal: boolean): void {
    if (rawField(notifiers, 'activeInvalidateRanges') !== 0) return;
    const isOdd = (rawField(notifiers, 'invalidateSeq') as number) % 2 === 1;
    if (isOdd) this.report('no range is active and the sequence is odd', notifiers, isGlobal);
    const deferred: HlistNode | null = notifiers.deferredList.first;
    if (deferred === null) return;
    this.report('no range is active and a notifier is still deferred', notifiers, isGlobal);
  }

  private report(message: string, { memory }: MmuNotifierMm, isGlobal: boolean): void {
    if (this.reported.has(message)) return;
    this.reported.add(message);
    reportBroken(this.ledger.kernel, 'I10', {
      object: memory.name,
      message,
      memory,
      place: message,
      isGlobal,
    });
  }
}

/** Raw, without the checks of the model's own walks. */
function nodesOf({ itree }: MmuNotifierMm): Set<IntervalTreeNode> {
  const found = new Set<IntervalTreeNode>();
  const open = [itree.tree.root];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (node === null) continue;
    found.add(node);
    open.push(node.left, node.right);
  }
  return found;
}

function isSame(some: ReadonlySet<unknown>, others: ReadonlySet<unknown>): boolean {
  return some.size === others.size && [...some].every((item) => others.has(item));
}

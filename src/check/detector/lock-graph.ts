/**
 * The graph of lock classes that lockdep keeps: which class was taken while which was held, in any
 * execution of the search.
 *
 * An edge says whether the held side was shared, and whether the taken side may be taken again by who
 * holds it (SRCU read sections), as in Linux from v5.10 on. A reader that recurses waits for no other
 * reader, so a way is worth nothing where it arrives at a lock by such a reader and leaves it by one.
 * Readers of an rwsem do not recurse: a writer that waits in between holds up the second.
 */
import type { HeldLock } from '../../kernel/task.ts';
import type { LockClass } from '../../kernel/lock-class.ts';
import type { Schedule } from '../program.ts';

/** One moment at which something was observed. */
export interface Sighting {
  readonly taskName: string;
  readonly task: number;
  /** {@link ANY_CPU} unless the scenario names one. */
  readonly cpu: number;
  /** In `execution`, one that the detector counts; -1 for set-up. */
  readonly step: number;
  readonly stack: readonly string[];
  readonly execution: number;
  /** What leads to it; null if nobody who explores has said. */
  readonly schedule: Schedule | null;
}

export interface Dependency {
  readonly from: LockNode;
  readonly to: LockNode;
  readonly isShared: boolean;
  readonly isRecursive: boolean;
  readonly takenMode: HeldLock['mode'];
  /** How the two locks are called, which for embedded structs is more than the class. */
  readonly paths: readonly [string, string];
  readonly held: Sighting;
  readonly taken: Sighting;
}

/** A lock class, or one nesting level of it. */
export class LockNode {
  readonly id: number;
  readonly name: string;
  /** What a deadlock calls the first lock of the class that was seen. */
  readonly path: string;
  readonly isLock: boolean;
  readonly out: Dependency[] = [];
  /** The same by the id of the other end × 4 + the kind of the edge. */
  readonly known: (Dependency | undefined)[] = [];
  /** Taken in an interrupt handler; and held with interrupts on. The first of each CPU. */
  readonly inInterrupt: Sighting[] = [];
  readonly withIrqsOn: Sighting[] = [];
  isRecursionReported = false;

  constructor(id: number, name: string, held: HeldLock) {
    this.id = id;
    this.name = name;
    this.path = held.path;
    this.isLock = held.lockClass.isLock;
  }
}

/** Where a task or handler runs that was not put on a CPU. */
export const ANY_CPU = -1;

/** Of two lists of uses, a pair that can be on one CPU: the one may interrupt the other. */
export function meeting(
  handlers: readonly Sighting[],
  others: readonly Sighting[],
): readonly [Sighting, Sighting] | null {
  for (const handler of handlers) {
    for (const other of others) {
      const canMeet = handler.cpu === other.cpu || handler.cpu < 0 || other.cpu < 0;
      if (canMeet) return [handler, other];
    }
  }
  return null;
}

/** Whether who takes the lock so may take it again while a writer waits. */
export function isRecursiveRead(held: HeldLock): boolean {
  return held.mode === 'read' && !held.lockClass.isLock;
}

export function kindOf(held: HeldLock, taken: HeldLock): number {
  return (held.mode === 'read' ? 2 : 0) + (isRecursiveRead(taken) ? 1 : 0);
}

/** Cycles longer than this are not looked for. */
const CYCLE_LENGTH_MAX = 10;
/** Cycles through one new edge; whoever has more has enough to do. */
const CYCLE_COUNT_MAX = 64;

export class LockGraph {
  private readonly byName = new Map<string, LockNode>();
  private readonly byClass = new WeakMap<LockClass, LockNode[]>();
  private lastClass: LockClass | null = null;
  private lastNode: LockNode | null = null;
  private count = 0;
  /** Classes that were used in interrupt handlers. */
  readonly irqSafe: LockNode[] = [];

  nodeOf(held: HeldLock): LockNode {
    // Most often the same lock again, by another task.
    const { lockClass, subclass } = held;
    if (lockClass === this.lastClass && subclass === 0) return this.lastNode as LockNode;
    const node = this.byClass.get(lockClass)?.[subclass] ?? this.open(held);
    if (subclass === 0) {
      this.lastClass = lockClass;
      this.lastNode = node;
    }
    return node;
  }

  private open(held: HeldLock): LockNode {
    const { lockClass, subclass, lock } = held;
    const suffix = subclass === 0 ? '' : `/${subclass}`;
    const name = `${lockClass.nameOf(lock)}${suffix}`;
    let node = this.byName.get(name);
    if (node === undefined) {
      node = new LockNode(this.count, name, held);
      this.count += 1;
      this.byName.set(name, node);
    }
    const levels = this.byClass.get(lockClass) ?? [];
    levels[subclass] = node;
    this.byClass.set(lockClass, levels);
    return node;
  }

  add(edge: Dependency): void {
    const kind = (edge.isShared ? 2 : 0) + (edge.isRecursive ? 1 : 0);
    edge.from.known[edge.to.id * 4 + kind] = edge;
    edge.from.out.push(edge);
  }

  /** All that was observed. */
  sightings(): Sighting[] {
    const found: Sighting[] = [];
    for (const { out, inInterrupt, withIrqsOn } of this.byName.values()) {
      for (const { held, taken } of out) found.push(held, taken);
      found.push(...inInterrupt, ...withIrqsOn);
    }
    return found;
  }

  /**
   * The cycles through `edge`, each beginning with it, that have no shortcut: the others tell nothing
   * new. Locks are mostly taken in one long order, with an edge between any two of them, so that one
   * wrong edge closes a great many cycles.
   */
  cyclesThrough(edge: Dependency): Dependency[][] {
    const cycles: Dependency[][] = [];
    const way: Dependency[] = [edge];
    const visit = (at: Dependency): void => {
      for (const next of at.to.out) {
        if (cycles.length >= CYCLE_COUNT_MAX) return;
        if (at.isRecursive && next.isShared) continue;
        if (hasShortcut(way, next.to)) continue;
        if (next.to === edge.from) {
          if (!(next.isRecursive && edge.isShared)) cycles.push([...way, next]);
          continue;
        }
        if (way.length >= CYCLE_LENGTH_MAX - 1) continue;
        if (way.some((other) => other.from === next.to || other.to === next.to)) continue;
        way.push(next);
        visit(next);
        way.pop();
      }
    };
    visit(edge);
    return cycles;
  }

  /** The shortest way from `node` to each other class that it leads to. */
  waysFrom(node: LockNode): Map<LockNode, Dependency[]> {
    const ways = new Map<LockNode, Dependency[]>();
    const seen = new Set<Dependency>();
    const open: Dependency[][] = node.out.map((edge) => [edge]);
    for (const way of open) {
      const last = way.at(-1) as Dependency;
      if (seen.has(last)) continue;
      seen.add(last);
      if (last.to !== node && !ways.has(last.to)) ways.set(last.to, way);
      for (const next of last.to.out) {
        if (!(last.isRecursive && next.isShared)) open.push([...way, next]);
      }
    }
    return ways;
  }
}

/** Whether some lock on the way, other than the last, leads to `end` at once. */
function hasShortcut(way: readonly Dependency[], end: LockNode): boolean {
  // Neither shared nor recursive, so that the shorter way is worth as much.
  return way.some(({ from }) => from !== end && from.known[end.id * 4] !== undefined);
}

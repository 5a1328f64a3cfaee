/**
 * Data races: two tasks access one field, at least one writes, at least one access is plain, and no
 * synchronisation orders them. Found in the manner of FastTrack, by comparing each access with the
 * last one of every other task; which of the two came first in this execution does not matter.
 * Marked accesses (also those that race on purpose, `dataRace`) do not race with each other.
 *
 * A plain access is no step of its own at first, so an execution in which it happens elsewhere is not
 * always explored. A race says that it could; so does a free that is not ordered with an earlier plain
 * access of the memory. The latter is no finding, since what would keep the access from coming after
 * the free may be a value and not a lock: it is a *suspicion* of a use after free. Either, or a use after
 * free that nothing orders with the free, makes the memory visible (`unorderedMemory`) and the search start over.
 */
import { fieldPath, type Kernel } from '../../kernel/kernel.ts';
import type { KernelObject, Memory } from '../../kernel/memory.ts';
import { modeOf, READ, variableOf, type Access } from '../../kernel/operation.ts';
import type { Task } from '../../kernel/task.ts';
import type { HappensBefore } from '../happens-before.ts';
import type { Suspicion } from '../result.ts';
import {
  AccessTable,
  MANNERS,
  MARKED_READ,
  MARKED_WRITE,
  PLAIN_READ,
  PLAIN_WRITE,
  type Manner,
} from './access-table.ts';
import type { Detector } from './detector.ts';

/** Finds data races; suspects unordered frees. Comes after `order` among the watches. */
export function dataRace(order: HappensBefore): Detector {
  return new DataRace(order);
}

const NAMES = ['plain read', 'plain write', 'marked read', 'marked write'] as const;

/** An access that has been noticed and not yet judged. */
interface Deferred {
  object: KernelObject;
  key: string;
  variable: number;
  manner: Manner;
}

class DataRace implements Detector {
  readonly suspicions: Suspicion[] = [];
  readonly unorderedMemory = new Set<string>();
  private readonly suspected = new Set<string>();
  /** Who has freed which memory in this execution, and under which label. */
  private readonly frees = new Map<Memory, { readonly label: number; readonly owner: number }>();
  private readonly order: HappensBefore;
  private readonly table = new AccessTable();
  /**
   * Accesses of the operation that is being performed: judged when it is known what it acquires.
   * The entries are used again; `deferredCount` of them are valid, at step `deferredStep`.
   */
  private readonly deferred: Deferred[] = [];
  private deferredCount = 0;
  private deferredStep = -1;

  constructor(order: HappensBefore) {
    this.order = order;
  }

  onStart(): void {
    this.table.clear();
    this.frees.clear();
    this.deferredStep = -1;
  }

  onPlainAccess(kernel: Kernel, object: KernelObject, key: string, item: Access): void {
    const task = kernel.currentTask;
    if (task.index < 0) return;
    const variable = variableOf(item);
    const manner = modeOf(item) === READ ? PLAIN_READ : PLAIN_WRITE;
    if (task.pending !== null) {
      this.defer(kernel, { object, key, variable, manner });
      return;
    }
    const row = this.table.rowOf(variable);
    const label = this.order.labels[task.index] as number;
    // Under the same label nobody else came in between.
    if (this.table.labels[this.table.at(row, manner, task.index)] === label) return;
    const rivals = this.rivalsOf(row, manner, task.index);
    if (rivals !== 0) this.report(kernel, { object, key, variable, manner });
    this.table.note(row, manner, task.index, { label, place: task.functionName });
  }

  onMarkedAccess(kernel: Kernel, object: KernelObject, key: string, item: Access): void {
    if (kernel.currentTask.index < 0) return;
    const manner = modeOf(item) === READ ? MARKED_READ : MARKED_WRITE;
    this.defer(kernel, { object, key, variable: variableOf(item), manner });
  }

  onOrdered(kernel: Kernel, task: Task): void {
    if (this.deferredStep !== kernel.now) return;
    // The operation belongs to the label that its step has just closed.
    const label = (this.order.labels[task.index] as number) - 1;
    for (let at = 0; at < this.deferredCount; at += 1) {
      const item = this.deferred[at] as Deferred;
      const row = this.table.rowOf(item.variable);
      if (this.rivalsOf(row, item.manner, task.index) !== 0) this.report(kernel, item);
      this.table.note(row, item.manner, task.index, { label, place: task.functionName });
    }
    this.deferredStep = -1;
  }

  onFree(kernel: Kernel, memory: Memory): void {
    const { index } = kernel.currentTask;
    if (index < 0) return;
    this.frees.set(memory, { label: this.order.labels[index] as number, owner: index });
    const end = memory.firstVariable + memory.variableCount;
    for (let variable = memory.firstVariable; variable < end; variable += 1) {
      const row = this.table.find(variable);
      if (row < 0) continue;
      for (const manner of [PLAIN_READ, PLAIN_WRITE] as const) {
        for (const other of tasksOf(this.unordered(row, manner, index))) {
          const label = this.table.labels[this.table.at(row, manner, other)] as number;
          // Where plain accesses are steps, both orders are explored: there is nothing to suspect. Only
          // a task's code before its first operation is never a step.
          const isStep = kernel.visibleMemory?.has(memory.name) === true && label > 1;
          if (!isStep) this.suspect(kernel, memory, this.table.place(row, manner, other));
        }
      }
    }
  }

  /** Plain code has come after a free that nothing orders it with: it may come before as well. */
  onDeadAccess({ currentTask }: Kernel, memory: Memory): void {
    const free = this.frees.get(memory);
    if (free === undefined || currentTask.index < 0 || currentTask.pending !== null) return;
    if (this.order.isOrdered(free.label, free.owner, currentTask.index)) return;
    this.unorderedMemory.add(memory.name);
  }

  private defer(kernel: Kernel, item: Deferred): void {
    if (this.deferredStep !== kernel.now) {
      this.deferredStep = kernel.now;
      this.deferredCount = 0;
    }
    this.deferred[this.deferredCount] = item;
    this.deferredCount += 1;
  }

  /** The tasks, as a mask, whose last access in some conflicting manner is not ordered with mine. */
  private rivalsOf(row: number, manner: Manner, task: number): number {
    let found = this.unordered(row, PLAIN_WRITE, task);
    if (isPlain(manner)) found |= this.unordered(row, MARKED_WRITE, task);
    if (!isWrite(manner)) return found;
    found |= this.unordered(row, PLAIN_READ, task);
    return isPlain(manner) ? found | this.unordered(row, MARKED_READ, task) : found;
  }

  private unordered(row: number, manner: Manner, task: number): number {
    let open = this.table.mask(row, manner) & ~(1 << task);
    let found = 0;
    while (open !== 0) {
      const bit = open & -open;
      open ^= bit;
      const other = 31 - Math.clz32(bit);
      const label = this.table.labels[this.table.at(row, manner, other)] as number;
      if (!this.order.isOrdered(label, other, task)) found |= bit;
    }
    return found;
  }

  private report(kernel: Kernel, item: Deferred): void {
    const task = kernel.currentTask;
    const row = this.table.rowOf(item.variable);
    const mine: Side = { manner: item.manner, place: task.functionName };
    for (const manner of MANNERS) {
      if (!canRace(item.manner, manner)) continue;
      for (const other of tasksOf(this.unordered(row, manner, task.index))) {
        this.unorderedMemory.add(item.object.memory.name);
        reportRace(kernel, item, [mine, { manner, place: this.table.place(row, manner, other) }]);
      }
    }
  }

  private suspect(kernel: Kernel, memory: Memory, place: string): void {
    this.unorderedMemory.add(memory.name);
    const freedBy = kernel.place();
    const key = `${memory.name} ${place} ${freedBy}`;
    if (this.suspected.has(key)) return;
    this.suspected.add(key);
    this.suspicions.push({
      kind: 'use-after-free',
      object: memory.name,
      message: `nothing orders the use of ${memory.name} by ${place} with its free by ${freedBy}`,
      places: [place, freedBy],
    });
  }
}

function canRace(one: Manner, other: Manner): boolean {
  return (isPlain(one) || isPlain(other)) && (isWrite(one) || isWrite(other));
}

function isPlain(manner: Manner): boolean {
  return manner === PLAIN_READ || manner === PLAIN_WRITE;
}

function isWrite(manner: Manner): boolean {
  return manner === PLAIN_WRITE || manner === MARKED_WRITE;
}

function tasksOf(mask: number): number[] {
  const tasks: number[] = [];
  for (let open = mask; open !== 0; open &= open - 1) {
    tasks.push(31 - Math.clz32(open & -open));
  }
  return tasks;
}

interface Side {
  readonly manner: Manner;
  readonly place: string;
}

/** The finding does not depend on which of the two came first. */
function reportRace(kernel: Kernel, item: Deferred, sides: readonly [Side, Side]): void {
  const path = fieldPath(item.object, item.key);
  const { memory } = item.object;
  const [one, other] = isInOrder(sides[0], sides[1]) ? sides : [sides[1], sides[0]];
  kernel.report({
    kind: 'data-race',
    object: path,
    message: `${path}: nothing orders ${described(one)} with ${described(other)}`,
    memory: memory.kind === 'slab' ? memory : null,
    place: one.place,
    otherPlace: other.place,
  });
}

/** By the name of the function, and then writes first. */
function isInOrder(one: Side, other: Side): boolean {
  if (one.place !== other.place) return one.place < other.place;
  return isWrite(one.manner) || !isWrite(other.manner);
}

function described(side: Side): string {
  return `the ${NAMES[side.manner]} by ${side.place}`;
}

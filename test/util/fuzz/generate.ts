/**
 * Random fuzz programs. All that is random comes from one seed, so a program is named by it.
 *
 * Programs are kept small by what enumerating them would cost: the number of orders in which the
 * tasks' steps could come, if nothing ever had to wait.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { CHOICE } from './kind/choice.ts';
import { COMPLETION } from './kind/completion.ts';
import { COUNTER } from './kind/counter.ts';
import { FAIR_RWSEM } from './kind/fair-rwsem.ts';
import { FIELD } from './kind/field.ts';
import { IRQ, SPINLOCK_IRQ } from './kind/irq.ts';
import type { FuzzOperation, Kind } from './kind/kind.ts';
import { MUTEX } from './kind/mutex.ts';
import { PREEMPT } from './kind/preempt.ts';
import { REFCOUNT } from './kind/refcount.ts';
import { RISING } from './kind/rising.ts';
import { RWSEM } from './kind/rwsem.ts';
import { SPINLOCK } from './kind/spinlock.ts';
import { SRCU } from './kind/srcu.ts';
import { WAIT_QUEUE } from './kind/wait-queue.ts';
import type { Do, FuzzProgram, Statement } from './program.ts';
import { VALUE_COUNT } from './machine.ts';

/** Orders that a program's steps may have if nobody ever waits. Locks leave few of them. */
const ORDER_COUNT_MAX = 250;
const ORDER_COUNT_MAX_WITH_LOCKS = 1200;
const IF_DEPTH_MAX = 3;
const TASK_COUNTS = [2, 2, 3, 3, 3, 4, 4] as const;

/** Programs of one sort. */
export interface Family {
  /** Sets of objects that programs share. Few objects make many conflicts. */
  readonly sets: readonly (readonly Kind[])[];
  /** How many tasks of a hundred are not there from the beginning. */
  readonly startPercent: number;
  readonly taskCounts: readonly number[];
}

const LOCKING_SETS: readonly (readonly Kind[])[] = [
  [FIELD, FIELD],
  [FIELD, COUNTER],
  [MUTEX, FIELD],
  [MUTEX, MUTEX],
  [MUTEX, MUTEX, FIELD],
  [MUTEX, MUTEX, FIELD, COUNTER],
  [MUTEX, MUTEX, MUTEX, FIELD],
  [RWSEM, FIELD],
  [RWSEM, MUTEX, FIELD],
  [RWSEM, RWSEM, COUNTER],
  [SPINLOCK, FIELD],
  [SPINLOCK, SPINLOCK, FIELD],
  [SPINLOCK, MUTEX, PREEMPT, FIELD],
  [PREEMPT, FIELD, FIELD],
  [SRCU, FIELD],
  [SRCU, MUTEX, FIELD],
  [RISING, FIELD],
  [RISING, RISING],
];

const WAITING_SETS: readonly (readonly Kind[])[] = [
  [FAIR_RWSEM, FIELD],
  [FAIR_RWSEM, FAIR_RWSEM],
  [FAIR_RWSEM, MUTEX, COUNTER],
  [WAIT_QUEUE, FIELD],
  [WAIT_QUEUE, COUNTER],
  [WAIT_QUEUE, MUTEX, FIELD],
  [COMPLETION, FIELD],
  [COMPLETION, COMPLETION],
  [COMPLETION, MUTEX],
  [COMPLETION, WAIT_QUEUE],
  [REFCOUNT, FIELD],
  [REFCOUNT, REFCOUNT],
  [REFCOUNT, MUTEX],
  [IRQ, FIELD],
  [IRQ, FIELD, FIELD],
  [IRQ, COUNTER, SPINLOCK],
  [SPINLOCK_IRQ, FIELD],
  [SPINLOCK_IRQ, FIELD, PREEMPT],
  [SPINLOCK_IRQ, SPINLOCK, FIELD],
  [SPINLOCK_IRQ, COMPLETION, REFCOUNT],
];

/** Locks, fields and counters. */
export const LOCKING: Family = { sets: LOCKING_SETS, startPercent: 12, taskCounts: TASK_COUNTS };
/** What is waited for, counted and interrupted. */
export const WAITING: Family = { sets: WAITING_SETS, startPercent: 25, taskCounts: TASK_COUNTS };
/** Tasks that start each other. */
export const STARTING: Family = {
  sets: [[FIELD], [FIELD, FIELD], [FIELD, COUNTER]],
  startPercent: 70,
  taskCounts: [4, 5, 5],
};

/** Tasks that wait for ever on a CPU that they share. */
export const STUCK: Family = {
  sets: [
    [COMPLETION, PREEMPT],
    [PREEMPT, RISING],
    [COMPLETION, PREEMPT, FIELD],
  ],
  startPercent: 0,
  taskCounts: [3, 3, 4],
};

/** Kinds that are there because of interrupt handlers. */
const INTERRUPTED: ReadonlySet<Kind> = new Set([IRQ, SPINLOCK_IRQ]);
/** Kinds whose use shuts out other tasks of a CPU. */
const SHARING: ReadonlySet<Kind> = new Set([SPINLOCK, PREEMPT, IRQ, SPINLOCK_IRQ]);

/** Something that is held in a block, and what is left to do to let go of it. */
interface Held {
  readonly object: number;
  releases: readonly FuzzOperation[];
}

class Generator {
  private readonly random: RandomGenerator;
  private readonly objects: readonly Kind[];
  private readonly family: Family;
  private readonly hasHandlers: boolean;
  private readonly isVisible: boolean;
  /** The objects that loops which try again are about. */
  private readonly repeatable: readonly number[];

  constructor(seed: number, family: Family) {
    this.family = family;
    this.random = xoroshiro128plus(scrambled(seed));
    this.objects = this.pick(family.sets);
    this.hasHandlers = this.objects.some((kind) => INTERRUPTED.has(kind));
    // A handler gives its CPU back with its last step, whether or not plain code is one of its own.
    this.isVisible = !this.hasHandlers && this.objects.includes(FIELD) && this.isLucky(20);
    this.repeatable = [...this.objects.keys()].filter((at) =>
      this.objects[at]?.operations.some(({ mayRepeat }) => mayRepeat === true),
    );
  }

  program(): FuzzProgram {
    const tasks = this.lengths().map((length) => this.block(length, 0, []));
    // A few tasks are not there from the beginning: another one starts them.
    for (let task = 1; task < tasks.length && !this.hasHandlers; task += 1) {
      if (!this.isLucky(this.family.startPercent)) continue;
      const starter = tasks[this.from(0, task - 1)] as Statement[];
      starter.splice(this.from(0, starter.length), 0, { kind: 'start', task });
    }
    const { objects, isVisible } = this;
    const cpus = this.cpus(tasks.length);
    return { objects, tasks, cpus, handlers: this.handlers(tasks.length), isVisible };
  }

  /** The last task or two, if there are handlers at all. */
  private handlers(taskCount: number): number {
    if (!this.hasHandlers) return 0;
    const last = 1 << (taskCount - 1);
    return taskCount > 2 && this.isLucky(40) ? last | (last >>> 1) : last;
  }

  /** CPUs that tasks share; most often where it matters. */
  private cpus(taskCount: number): (number | null)[] {
    const isShared = this.isLucky(this.objects.some((kind) => SHARING.has(kind)) ? 70 : 5);
    return Array.from({ length: taskCount }, () =>
      isShared && this.isLucky(75) ? this.from(0, this.hasHandlers ? 0 : 1) : null,
    );
  }

  /** How many steps each task may take. */
  private lengths(): number[] {
    const taskCount = this.pick(this.family.taskCounts);
    const lengths = Array.from({ length: taskCount }, () => this.from(1, 2));
    const hasLocks = this.objects.some((kind) => kind.acquisitions.length > 0);
    const orderCountMax = hasLocks ? ORDER_COUNT_MAX_WITH_LOCKS : ORDER_COUNT_MAX;
    for (let tries = 0; tries < 10; tries += 1) {
      const at = this.from(0, lengths.length - 1);
      lengths[at] = (lengths[at] as number) + 1;
      const stepCounts = this.isVisible ? lengths.map((length) => 2 * length) : lengths;
      if (orderCount(stepCounts) > orderCountMax || (lengths[at] as number) > 8) {
        lengths[at] = (lengths[at] as number) - 1;
      }
    }
    return lengths;
  }

  /** Statements of which at most `length` steps are taken; `held` was taken just before. */
  private block(length: number, depth: number, held: Held[]): Statement[] {
    const statements: Statement[] = [];
    let left = length;
    while (left > 0) {
      if (held.length > 0 && this.isLucky(30)) {
        statements.push(this.release(held));
        left -= 1;
        continue;
      }
      const kind = this.from(0, 99);
      if (kind < 12 && depth < IF_DEPTH_MAX && statements.length > 0) {
        statements.push(this.branch(left, depth, []));
        left = 0;
      } else if (kind < 15) {
        statements.push(perform(CHOICE, -1, 0));
        left -= 1;
      } else if (kind < 18 && statements.length > 0) {
        statements.push({ kind: 'bug', value: this.argument() });
        left -= 1;
      } else if (kind < 26 && this.repeatable.length > 0) {
        const inside = Array.from({ length: this.from(1, 2) }, () => this.repeated());
        statements.push({ kind: 'retry', inside, value: this.argument() });
        // It takes a round that is in vain, a wait, and another round.
        left -= inside.length + 2;
      } else {
        const object = this.from(0, this.objects.length - 1);
        left = this.use(object, { statements, left, depth, held });
      }
    }
    // What is still held is let go at the end; now and then it is forgotten.
    while (held.length > 0 && !this.isLucky(12)) statements.push(this.release(held));
    return statements;
  }

  /** Appends an operation of the object; returns how many steps are left after it. */
  private use(
    object: number,
    at: { statements: Statement[]; left: number; depth: number; held: Held[] },
  ): number {
    const kind = this.objects[object] as Kind;
    const { statements, left, depth, held } = at;
    if (this.isVisible && kind === FIELD && this.isLucky(60)) {
      statements.push(this.plainAccess(object));
      // It mostly belongs to a step that was counted.
      return this.isLucky(50) ? left : left - 1;
    }
    // With one step left there would be none to let go in, which is a program too, but a rare one.
    const isRefused = kind.acquisitions.length === 0 || this.isLucky(left > 1 ? 12 : 70);
    if (isRefused && kind.operations.length === 0) return left - 1;
    if (isRefused) {
      statements.push(perform(this.pick(kind.operations), object, this.argument()));
      return left - 1;
    }
    const { operation, takenWhen, releases } = this.pick(kind.acquisitions);
    const taken: Held = { object, releases: this.pick(releases) };
    statements.push(perform(operation, object, 0));
    // Letting go takes a step too.
    const rest = left - operation.steps.length - 1;
    if (takenWhen === null) {
      held.push(taken);
      return rest;
    }
    if (depth >= IF_DEPTH_MAX) {
      // Never let go, which is a program too.
      return rest;
    }
    statements.push(this.branch(Math.max(rest, 0), depth, [taken], takenWhen));
    return 0;
  }

  /** An operation that loops may do again and again. */
  private repeated(): Do {
    const object = this.pick(this.repeatable);
    const { operations } = this.objects[object] as Kind;
    const operation = this.pick(operations.filter(({ mayRepeat }) => mayRepeat === true));
    return { kind: 'do', operation, object, argument: this.argument() };
  }

  private plainAccess(object: number): Statement {
    if (this.isLucky(50)) return { kind: 'load', object };
    return { kind: 'store', object, argument: this.argument() };
  }

  /** A conditional whose `inside` holds what is in `held`. */
  private branch(length: number, depth: number, held: Held[], value = this.argument()): Statement {
    return {
      kind: 'if',
      value,
      inside: this.block(length, depth + 1, held),
      otherwise: this.isLucky(50) ? this.block(length, depth + 1, []) : [],
    };
  }

  /** Lets go of something, by a first step if it takes several. */
  private release(held: Held[]): Statement {
    const at = this.from(0, held.length - 1);
    const { object, releases } = held[at] as Held;
    const [first, ...rest] = releases as readonly [FuzzOperation, ...FuzzOperation[]];
    if (rest.length === 0) held.splice(at, 1);
    else held[at] = { object, releases: rest };
    return perform(first, object, 0);
  }

  private argument(): number {
    return this.from(0, VALUE_COUNT - 1);
  }

  private from(min: number, max: number): number {
    return uniformInt(this.random, min, max);
  }

  private isLucky(percent: number): boolean {
    return this.from(0, 99) < percent;
  }

  private pick<T>(list: readonly T[]): T {
    return list[this.from(0, list.length - 1)] as T;
  }
}

function perform(operation: FuzzOperation, object: number, argument: number): Statement {
  return { kind: 'do', operation, object, argument };
}

/** In how many orders the steps of tasks with so many steps each can come. */
function orderCount(lengths: readonly number[]): number {
  let count = 1;
  let total = 0;
  for (const length of lengths) {
    for (let at = 1; at <= length; at += 1) {
      total += 1;
      count = (count * total) / at;
    }
  }
  return Math.round(count);
}

/** Neighbouring seeds would begin alike otherwise. */
function scrambled(seed: number): number {
  let bits = Math.imul(seed ^ (seed >>> 16), 0x85eb_ca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2_ae35);
  return bits ^ (bits >>> 16);
}

/** The program of the family that `seed` names. */
export function generateProgram(seed: number, family = LOCKING): FuzzProgram {
  return new Generator(seed, family).program();
}

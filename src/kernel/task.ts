/**
 * A task: a stack of generators that the engine keeps, and what the kernel knows of its context.
 *
 * Threads, work items, RCU and SRCU callbacks, timers and interrupt handlers are all tasks. Only
 * the innermost generator of a task is ever resumed.
 */
import type { Call, KernelFunction, Text } from './call.ts';
import type { Cpu } from './cpu.ts';
import type { LockClass } from './lock-class.ts';
import type { Body, Operation } from './operation.ts';

/**
 * What a task stands for. A daemon waits for work for ever: that it is blocked when all is over is
 * no deadlock.
 */
export type TaskKind = 'thread' | 'work' | 'callback' | 'timer' | 'interrupt' | 'daemon' | 'setup';

export interface Frame {
  readonly callee: KernelFunction;
  readonly generator: Body<unknown>;
  readonly call: Call<unknown> | null;
  /** The module whose text it is in or returns to, the innermost one; null if there is none. */
  readonly text: Text | null;
  /** Who called it, so that a frame stands for the whole stack, also after it has returned. */
  readonly caller: Frame | null;
}

/**
 * A lock that a task holds, for lockdep and for pictures; or something that keeps others waiting as a
 * lock does: an SRCU read section, a work item that runs.
 */
export interface HeldLock {
  readonly path: string;
  /** `read` for the shared side of an rwsem and for read sections. */
  readonly mode: 'read' | 'write';
  /** The lock itself: several locks may have one path. */
  readonly lock: object;
  readonly lockClass: LockClass;
  /** The nesting level within the class, as in `mutex_lock_nested`. */
  subclass: number;
  /** True if it was taken by a trylock, which waits for nobody. */
  isTry: boolean;
  /** The lock that serialises the taking of several of this class, as in `down_write_nest_lock`. */
  nest: object | null;
  /** The step at which it was taken, or -1 for set-up. */
  step: number;
  /** Where it was taken: the innermost frame at that time. */
  frame: Frame | null;
}

// Most tasks never hold anything of a kind: a list of its own is made when it is needed.
export const NONE_HELD: readonly HeldLock[] = [];

/** What took from a task the right to sleep. */
export interface AtomicOrigin {
  readonly operation: Operation<unknown> | null;
  readonly step: number;
  readonly frame: Frame | null;
}

/** A read section of RCU or of an srcu_struct; grace-period.ts knows more of it. */
export type ReadSection = HeldLock;

export class Task {
  /** Its position in the execution's list of tasks; equal schedules give equal indexes. */
  readonly index: number;
  /** What pictures call it: the scenario's name for it, or `kworker: kfd_process_wq_release`. */
  readonly name: string;
  readonly kind: TaskKind;
  readonly cpu: Cpu;
  readonly parent: Task | null;

  frames: Frame[] = [];
  /** The operation that it has yielded and that has not happened, or null when it has ended. */
  pending: Operation<unknown> | null = null;
  /** The argument that the pending operation was made with. */
  argument: unknown = undefined;
  /** True once it has returned from its body, or was ended by an oops. */
  isDone = false;
  isOopsed = false;
  /** True from its first step on. */
  hasStarted = false;
  /** The step that started it, or -1 for tasks that are there from the beginning. */
  readonly spawnedAt: number;
  /** The last step that it took, or -1. */
  lastStep = -1;
  /** Its first step, or -1. */
  firstStep = -1;
  /**
   * A task that does the same with the same, and begins before this one: which of them begins first
   * makes no difference. Null if there is none.
   */
  twin: Task | null = null;

  /** Nesting of preempt_disable, spinlocks included. */
  preemptCount = 0;
  /** Nesting of local_irq_disable and irqsave sections. */
  irqDisableCount = 0;
  /** Nesting of rcu_read_lock. */
  rcuReadCount = 0;
  /** Nesting of non_block_start. */
  nonBlockCount = 0;
  /** True once a signal was found pending; it stays so. */
  hasSignal = false;
  /** What turned preemption or interrupts off, or entered a non-blockable section; the outermost. */
  atomicOrigin: AtomicOrigin | null = null;
  heldLocks: readonly HeldLock[] = NONE_HELD;
  /** What it holds that is no lock but is waited for like one; see lock-map.ts. */
  lockMaps: readonly HeldLock[] = NONE_HELD;
  /** RCU and SRCU read sections that it is in. */
  readSections: readonly ReadSection[] = NONE_HELD;
  /** `current->mm`; the type belongs to mm-types. */
  mm: unknown = null;
  /** The process it is a thread of; the type belongs to the files of the kernel. */
  process: unknown = null;

  /** Where its own allocations get their addresses from; see `allocateAddress` in slab.ts. */
  readonly arenaStart: number;
  readonly arenaDepth: number;
  arenaUsed = 0;
  childCount = 0;

  constructor(
    index: number,
    identity: {
      readonly name: string;
      readonly kind: TaskKind;
      readonly cpu: Cpu;
      readonly parent: Task | null;
      readonly spawnedAt: number;
    },
    arenaStart: number,
    arenaDepth: number,
  ) {
    this.index = index;
    this.name = identity.name;
    this.kind = identity.kind;
    this.cpu = identity.cpu;
    this.parent = identity.parent;
    this.spawnedAt = identity.spawnedAt;
    this.arenaStart = arenaStart;
    this.arenaDepth = arenaDepth;
  }

  /** The innermost kernel function, or the task's own name. */
  get functionName(): string {
    const top = this.frames.at(-1);
    return top === undefined ? this.name : top.callee.name;
  }

  /** Why the task must not sleep now, or null if it may. */
  atomicReason(): string | null {
    if (this.kind === 'interrupt') return 'in an interrupt handler';
    if (this.kind === 'timer') return 'in a timer function (softirq)';
    if (this.kind === 'callback') return 'in an RCU or SRCU callback';
    const isReaderOnly = this.rcuReadCount > 0 && this.preemptCount === this.rcuReadCount;
    if (isReaderOnly) return 'inside rcu_read_lock';
    if (this.preemptCount > 0) return 'with preemption off';
    if (this.irqDisableCount > 0) return 'with interrupts off';
    if (this.rcuReadCount > 0) return 'inside rcu_read_lock';
    if (this.nonBlockCount > 0) return 'inside a non-blockable section';
    return null;
  }
}

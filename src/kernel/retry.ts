/**
 * Loops that try again: `do { seq = read_begin(); … } while (read_retry(seq));`, spins on cmpxchg.
 *
 *     CPU0 (retry)                        CPU1
 *     a = READ_ONCE(x), b = READ_ONCE(y)
 *     a and b do not fit: again
 *     (waits)                             WRITE_ONCE(y, …)
 *     a = READ_ONCE(x), b = READ_ONCE(y)
 *
 * Modelled: a round that changed nothing would go the same way again as long as nobody else changes
 * anything that it has read. So the task waits after such a round, in a step of its own, until somebody
 * has: that leaves out rounds which only repeat the last one, and a loop for which nobody will ever do it
 * is found to be stuck. A round that did change something (it took and released a lock, say) is followed
 * by the next at once. Read sections of RCU and SRCU, closed again, change nothing.
 * What a round has read is noticed by itself: whatever its operations touch, and fields read plainly.
 * Storing the value that is there already, a failed cmpxchg say, changes nothing.
 * Simplified: the rounds that are left out do not touch anything either; nobody can come in between them
 * and find, say, that a cmpxchg is going on.
 *
 * Bounded: after {@link RETRY_COUNT_MAX} rounds the loop is given up, and what would have come after
 * remains unexplored: the search does not count as complete.
 *
 * Waiting conflicts with nothing if the round has read one thing only: the change that ends the wait is
 * the first one. Of several things each may be the first to change, so that waiting is a read of all.
 */
import { RETRY_COUNT_MAX } from '../base/limits.ts';
import { Atomic } from './atomic.ts';
import { fn, type Call } from './call.ts';
import { DomainOperation } from './grace-period-operations.ts';
import type { KernelObject, Memory } from './memory.ts';
import {
  access,
  COMMUTE,
  made,
  modeOf,
  Operation,
  READ,
  variableOf,
  type Access,
  type Body,
} from './operation.ts';
import { Refcount } from './refcount.ts';
import { current, running } from './running.ts';
import { slotOf } from './struct.ts';
import type { Task } from './task.ts';
import type { Watch } from './watch.ts';

/** What the body of a {@link retry} loop returns to be run again. */
export const RETRY: unique symbol = Symbol('retry');

/** A variable that the present round has looked at. */
interface Seen {
  readonly variable: number;
  /** Its value, or null if only its accesses tell when it changes. */
  source: { readonly memory: Memory; readonly read: () => unknown } | null;
  /** What it was last known to be. */
  value: unknown;
  /** How somebody else's present step accesses it; -1 if it does not, as far as it says. */
  mode: number;
  isDead: boolean;
}

/** What one loop knows of its present round. */
class Round implements Watch {
  readonly task: Task;
  readonly what: string;
  readonly seen = new Map<number, Seen>();
  /** Steps of others that changed what the round had read before. */
  readonly changes: number[] = [];
  /** True if the first change commutes with others. */
  private firstCommutes = false;
  /** False once the round has changed something itself. */
  isPure = true;
  /** Read sections that were open at its beginning. */
  private sectionCount = 0;
  /** What the present step of the task itself may change. */
  private readonly written: Seen[] = [];
  private readonly footprint: Access[] = [];

  constructor(task: Task, what: string) {
    this.task = task;
    this.what = what;
  }

  begin(): void {
    this.seen.clear();
    this.written.length = 0;
    this.changes.length = 0;
    this.firstCommutes = false;
    this.isPure = true;
    this.sectionCount = this.task.readSections.length;
  }

  /** Whether the next round would go the same way, as long as nobody changes anything. */
  get isInVain(): boolean {
    return this.isPure && this.task.readSections.length === this.sectionCount;
  }

  /** `task` is about to perform `operation`. */
  before(task: Task, operation: Operation<unknown>): void {
    const { footprint } = this;
    footprint.length = 0;
    operation.footprint(footprint, task);
    if (task !== this.task) {
      for (const item of footprint) this.noteOther(item);
      return;
    }
    // The step that waits belongs to no round. A read section changes nothing once it is closed.
    if (operation instanceof WaitForChange) return;
    if (operation instanceof DomainOperation && operation.isOfReader) return;
    // The next round may take another course all by itself.
    if (operation.arity(task) > 1) this.isPure = false;
    for (const item of footprint) {
      const seen = this.look(variableOf(item));
      if (seen.source === null) adopt(seen, counterOf(operation, seen.variable));
      if (modeOf(item) !== READ) this.written.push(seen);
    }
  }

  private noteOther(item: Access): void {
    const seen = this.seen.get(variableOf(item));
    if (seen === undefined) return;
    seen.mode = modeOf(item);
    if (seen.source === null && seen.mode !== READ) this.change(seen);
  }

  /** An access of a field, plain or marked; what is stored is not there yet. */
  readonly onPlainAccess = (
    _kernel: unknown,
    object: KernelObject,
    key: string,
    item: Access,
  ): void => {
    if (running.currentTask !== this.task) return;
    const seen = this.look(variableOf(item));
    if (seen.source !== null) return;
    const slot = slotOf(key);
    const values = object as unknown as Record<string, unknown>;
    adopt(seen, { memory: object.memory, read: () => values[slot] });
  };

  readonly onMarkedAccess = this.onPlainAccess;

  private look(variable: number): Seen {
    let seen = this.seen.get(variable);
    if (seen === undefined) {
      seen = { variable, source: null, value: undefined, mode: -1, isDead: false };
      this.seen.set(variable, seen);
    }
    return seen;
  }

  /** The effects of the step that was taken are there. */
  poll(): void {
    if (running.currentTask === this.task) {
      this.settle();
      return;
    }
    for (const seen of this.seen.values()) {
      const { source } = seen;
      if (source !== null) {
        const value = source.read();
        const isDead = !source.memory.isLive;
        if (!Object.is(value, seen.value) || isDead !== seen.isDead) {
          seen.value = value;
          seen.isDead = isDead;
          this.change(seen);
        }
      }
      seen.mode = -1;
    }
  }

  /** Notes what the task itself has changed. */
  settle(): void {
    for (const seen of this.seen.values()) {
      if (seen.source === null) continue;
      const value = seen.source.read();
      const isDead = !seen.source.memory.isLive;
      if (!Object.is(value, seen.value) || isDead !== seen.isDead) this.isPure = false;
      seen.value = value;
      seen.isDead = isDead;
    }
    if (this.written.some((seen) => seen.source === null)) this.isPure = false;
    this.written.length = 0;
  }

  private change(seen: Seen): void {
    if (this.changes.at(-1) === running.now) return;
    if (this.changes.length === 0) this.firstCommutes = seen.mode === COMMUTE;
    this.changes.push(running.now);
  }

  /** Whether only the first change matters: all that could come first come one after the other. */
  get isOfOne(): boolean {
    return this.seen.size === 1 && !this.firstCommutes;
  }
}

/** The counter that `operation` is about, if that is the variable. */
function counterOf(operation: Operation<unknown>, variable: number): Seen['source'] {
  const { counter } = operation as unknown as { readonly counter?: unknown };
  if (!(counter instanceof Atomic || counter instanceof Refcount)) return null;
  if (counter.variable !== variable) return null;
  return { memory: counter.memory, read: () => counter.value };
}

function adopt(seen: Seen, source: Seen['source']): void {
  if (source === null) return;
  seen.source = source;
  seen.value = source.read();
  seen.isDead = !source.memory.isLive;
}

/** Waits until something that the last round has read is changed. The argument is the round. */
class WaitForChange extends Operation<void> {
  override readonly footprintVaries = true;

  override isEnabled({ argument }: Task): boolean {
    return (argument as Round).changes.length > 0;
  }

  footprint(out: Access[], { argument }: Task): void {
    const { seen, isOfOne, changes } = argument as Round;
    if (changes.length === 0 || isOfOne) return;
    for (const variable of seen.keys()) out.push(access(variable, READ));
  }

  perform({ argument }: Task): void {
    const { changes, isOfOne } = argument as Round;
    // One of several is not required: any other would have done.
    if (changes.length === 1 || isOfOne) running.requires(changes[0] as number);
  }

  describe({ argument }: Task): string {
    return `${(argument as Round).what}: cpu_relax()`;
  }
}

/** Stands where a loop was given up: never enabled. */
class GiveUp extends Operation<void> {
  override isEnabled(): boolean {
    return false;
  }

  override footprint(): void {
    // Nobody can end this.
  }

  perform(): void {
    // It never comes to that.
  }

  describe({ argument }: Task): string {
    return `${argument as string}: given up`;
  }
}

const WAIT_FOR_CHANGE = new WaitForChange(null);
const GIVE_UP = new GiveUp(null);

/** What {@link retry} may be told. */
export interface RetryOptions {
  /** Rounds after which the loop is given up; {@link RETRY_COUNT_MAX} if left out. */
  readonly max?: number;
}

function leave(round: Round): void {
  running.awaited.delete(round);
  running.accessWatches.splice(running.accessWatches.indexOf(round), 1);
}

const retryLoop = fn(
  function* retryLoop(what: string, body: () => Body<unknown>, options: RetryOptions) {
    const max = options.max ?? RETRY_COUNT_MAX;
    const round = new Round(current(), what);
    running.awaited.add(round);
    running.accessWatches.push(round);
    for (let count = 0; ; count += 1) {
      // In direct mode nobody explores what comes of it.
      if (count >= max && running.givesUp && running.directCursor === 0) {
        leave(round);
        running.cut ??= { what, limit: max };
        yield* made(GIVE_UP, what);
      }
      round.begin();
      const result = yield* body();
      round.settle();
      if (result !== RETRY) {
        leave(round);
        return result;
      }
      if (round.isInVain) yield* made(WAIT_FOR_CHANGE, round);
    }
  },
  { name: 'retry' },
);

/**
 * Runs `body` again and again until it returns something other than {@link RETRY}, and returns that.
 * Whether it may sleep is up to the body.
 *
 *     yield* retry('read_seqbegin', function* () {
 *       const seq = yield* smpLoadAcquire(s, 'seq');
 *       return seq % 2 === 0 ? seq : RETRY;
 *     });
 *
 * @param what the loop as pictures show it.
 * @param body one round. What it does must depend on nothing but what it reads in this round: variables
 *   outside of it, that differ from round to round, are not seen.
 */
export function retry<R>(
  what: string,
  body: () => Body<R | typeof RETRY>,
  options: RetryOptions = {},
): Call<R> {
  return retryLoop(what, body, options) as unknown as Call<R>;
}

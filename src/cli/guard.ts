/**
 * Guards against scenarios that keep state between executions. Exploration rests on equal schedules
 * taking equal courses; so the first execution is run a few times before the search and once more
 * after it, when whatever counts executions has counted them, and all that can be seen of it must be
 * the same: operations, their results, calls, and the fields that are used with what they hold.
 */
import type { Program } from '../check/program.ts';
import { replay } from '../check/replay.ts';
import { UsageError } from '../base/usage-error.ts';
import type { Call } from '../kernel/call.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { KernelObject } from '../kernel/memory.ts';
import { modeOf, READ, type Access, type Operation } from '../kernel/operation.ts';
import { slotOf } from '../kernel/struct.ts';
import type { Task } from '../kernel/task.ts';
import type { Tracer, Watch } from '../kernel/watch.ts';
import { CodeStack, withLongStacks } from '../trace/code-place.ts';
import { resolvePlace } from './place.ts';

/** Enough to notice most that tosses a coin. */
const RUNS_BEFORE = 4;

interface Sight {
  readonly text: string;
  readonly stack: CodeStack;
}

interface Written {
  readonly slots: Slots;
  readonly key: string;
  readonly field: string;
  readonly stack: CodeStack;
}

/** Notes all that happens in one execution. */
class Witness implements Tracer, Watch {
  readonly seen: Sight[] = [];
  private lastMade = new CodeStack();
  /** A field that is being written: what it holds then is seen afterwards. */
  private written: Written | null = null;

  onMade(): void {
    this.lastMade = new CodeStack();
  }

  onStep(task: Task, _operation: Operation<unknown>, description: string): void {
    this.note(`task '${task.name}' did ${description}`, this.lastMade);
  }

  onResult(task: Task, result: unknown): void {
    if (isPlain(result)) this.note(`task '${task.name}' got ${String(result)}`, this.lastMade);
  }

  onCall(task: Task, call: Call<unknown>): void {
    this.note(`task '${task.name}' called ${call.callee.name}()`, this.lastMade);
  }

  onReturn(): void {
    // Whatever it returned shows in what its caller does.
  }

  onNote(): void {
    // As above.
  }

  onPlainAccess(kernel: Kernel, object: KernelObject, key: string, item: Access): void {
    const isRead = modeOf(item) === READ;
    const slots = object as unknown as Slots;
    const stack = new CodeStack();
    const { name } = kernel.currentTask;
    const field = `${object.path}.${key}`;
    const text = isRead ? `read${valueText(slots[slotOf(key)])} from` : 'wrote to';
    this.note(`task '${name}' ${text} ${field}`, stack);
    this.written = isRead ? null : { slots, key, field, stack };
  }

  onEnd(): void {
    this.note('the execution ended', this.lastMade);
  }

  private note(text: string, stack: CodeStack): void {
    if (this.written !== null) {
      const { slots, key, field, stack: place } = this.written;
      this.seen.push({ text: `${field} became${valueText(slots[slotOf(key)])}`, stack: place });
      this.written = null;
    }
    this.seen.push({ text, stack });
  }
}

/** The fields of an object, as struct.ts keeps them. */
type Slots = Readonly<Record<string, unknown>>;

/** Objects are told apart by what is done with them. */
function valueText(value: unknown): string {
  return isPlain(value) ? ` ${String(value)}` : '';
}

function isPlain(value: unknown): boolean {
  return typeof value !== 'object' && typeof value !== 'function';
}

export class Guard {
  private readonly program: Program;
  private first: readonly Sight[] | null = null;

  constructor(program: Program) {
    this.program = program;
  }

  /**
   * Call before the search. What else is wrong with the scenario is left to the search.
   *
   * @throws UsageError MN204
   */
  before(): void {
    try {
      this.first = this.witness();
    } catch {
      return;
    }
    for (let run = 1; run < RUNS_BEFORE; run += 1) this.compare();
  }

  /**
   * Call after the search.
   *
   * @throws UsageError MN204
   */
  compare(): void {
    if (this.first === null) return;
    const again = this.witness();
    const count = Math.max(this.first.length, again.length);
    for (let at = 0; at < count; at += 1) {
      const [before, after] = [this.first[at], again[at]];
      if (before?.text !== after?.text) throw difference(before, after);
    }
  }

  private witness(): readonly Sight[] {
    const witness = new Witness();
    withLongStacks(() => {
      const nothing = { tasks: [], outcomes: [] };
      replay(this.program, nothing, { watches: [witness], tracer: witness, toEnd: true });
    });
    return witness.seen;
  }
}

function difference(before: Sight | undefined, after: Sight | undefined): UsageError {
  const raw = (after ?? before)?.stack.place ?? null;
  return new UsageError(
    'MN204',
    `the same schedule took another course: ${before?.text ?? 'the execution ended'} the first ` +
      `time, ${after?.text ?? 'the execution ended'} another time. Something keeps state between ` +
      'executions: a variable of the module that set-up does not make anew, the clock, or a random ' +
      'number.',
    raw === null ? null : resolvePlace(raw),
  );
}

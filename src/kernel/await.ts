/**
 * Loops that ask again and again until a condition holds: `while (READ_ONCE(p->busy)) cpu_relax();`.
 *
 * A loop that asks again would run for ever in some schedules, so it is one step instead, which can be
 * taken when the condition holds. It stands for the round of the loop that ended it. What made the
 * condition true is seen by what follows, as with smp_cond_load_acquire.
 *
 * Meant for conditions that, once true, stay true until the task goes on. One that comes and goes is
 * explored in each of its times since the wait began, but not in one that was over by then; `retry` knows
 * those, too.
 *
 * The changes without which the condition would not hold come before the step, and are never turned round
 * with it. Which those are is found out by undoing one at a time: of `x || y` neither is needed once both
 * hold.
 *
 * The condition is asked at any time, in the context of any task: it must read raw values, `value` of
 * an atomic or {@link peek} of a field, and change nothing.
 */
import { Atomic } from './atomic.ts';
import { kernelName } from './call.ts';
import { lastChangeOf } from './field.ts';
import type { KernelObject } from './memory.ts';
import { access, made, Operation, READ, type Access } from './operation.ts';
import { running } from './running.ts';
import { slotOf, type StructObject } from './struct.ts';

/** What a condition reads: an atomic (or another object of one variable), or a field of a struct. */
export type Awaited = KernelObject | readonly [StructObject, string];

/** One place that a condition reads. */
interface Reading {
  readonly object: KernelObject;
  /** The field, or null for an object that is read as a whole. */
  readonly key: string | null;
  readonly variable: number;
}

function readingOf(read: Awaited): Reading {
  if (!Array.isArray(read)) {
    const object = read as KernelObject;
    return { object, key: null, variable: object.variable };
  }
  const [object, key] = read as readonly [StructObject, string];
  const offset = object.structType.offsets[key];
  if (offset === undefined || !(slotOf(key) in object)) {
    running.misuse(`awaitCondition: ${object.path} has no plain field '${kernelName(key)}'`);
  }
  return { object, key, variable: object.variable + (offset as number) };
}

/** A change of something that is read, since the wait began. */
interface Change {
  readonly step: number;
  readonly reading: Reading;
  readonly before: unknown;
  readonly after: unknown;
}

/** Where the value is kept; undefined if the object has none that could be undone. */
function slotIn({ object, key }: Reading): { [slot: string]: unknown } | undefined {
  const values = object as unknown as { [slot: string]: unknown };
  return key !== null || typeof values['value'] === 'number' ? values : undefined;
}

function slotName({ key }: Reading): string {
  return key === null ? 'value' : slotOf(key);
}

function valueOf(reading: Reading): unknown {
  return slotIn(reading)?.[slotName(reading)];
}

class AwaitCondition extends Operation<void> {
  override readonly footprintVaries = true;
  readonly label: string;
  readonly condition: () => boolean;
  readonly reads: readonly Reading[];
  /** The step that made the condition true; -1 if it was true when the wait began, or is not. */
  private trueSince = -1;
  /** The step that made it false, if it has been true since the wait began. */
  private falseSince = -1;
  private isTrue: boolean;
  private readonly values: unknown[];
  private readonly changes: Change[] = [];

  constructor(label: string, condition: () => boolean, reads: readonly Reading[]) {
    super(null);
    this.label = label;
    this.condition = condition;
    this.reads = reads;
    this.isTrue = condition();
    this.values = reads.map(valueOf);
    // What was done before the wait began may be needed, too.
    for (const reading of reads) this.noteBefore(reading);
  }

  private noteBefore(reading: Reading): void {
    const { object, key } = reading;
    let last: { readonly lastChange: number; readonly valueBefore: unknown };
    if (key !== null) last = lastChangeOf(object as StructObject, key);
    else if (object instanceof Atomic) last = object;
    else return;
    const step = last.lastChange;
    if (step < 0) return;
    this.changes.push({ step, reading, before: last.valueBefore, after: valueOf(reading) });
  }

  /** Enabled, too, when what it reads was freed: then reading it is the finding. */
  override isEnabled(): boolean {
    return this.isTrue || this.reads.some(({ object }) => !object.memory.isLive);
  }

  footprint(out: Access[]): void {
    // While the condition has never been true nothing could come before or after the step.
    if (!this.isEnabled() && this.falseSince < 0) return;
    for (const { variable } of this.reads) out.push(access(variable, READ));
  }

  poll(): void {
    for (const [at, reading] of this.reads.entries()) {
      const before = this.values[at];
      const after = valueOf(reading);
      if (Object.is(before, after)) continue;
      this.values[at] = after;
      this.changes.push({ step: running.now, reading, before, after });
    }
    const isTrue = this.condition();
    if (isTrue === this.isTrue) return;
    if (isTrue) this.trueSince = running.now;
    else this.falseSince = running.now;
    this.isTrue = isTrue;
  }

  perform(): void {
    running.awaited.delete(this);
    for (const { object, key, variable } of this.reads) {
      running.touch(object.memory, object.path, 'read');
      if (key !== null) running.markedAccess(object, key, variable, READ);
    }
    if (this.falseSince >= 0) running.after(this.trueSince, this.falseSince);
    else if (this.reads.every((reading) => slotIn(reading) !== undefined)) this.requireChanges();
    else running.requires(this.trueSince);
  }

  private requireChanges(): void {
    // It goes on because something was freed.
    if (!this.isTrue) return;
    for (const [at, change] of this.changes.entries()) {
      const isLast = !this.changes.slice(at + 1).some(({ reading }) => reading === change.reading);
      if (this.isNeeded(change, isLast)) running.requires(change.step);
    }
  }

  /** Whether the condition would be false without the change. */
  private isNeeded({ reading, before, after }: Change, isLast: boolean): boolean {
    const slots = slotIn(reading) as { [slot: string]: unknown };
    const name = slotName(reading);
    const value = slots[name];
    const isCounter = reading.key === null;
    // What was overwritten since is gone anyway, but updates of a counter add up.
    if (!isLast && !isCounter) return false;
    slots[name] = isLast ? before : (value as number) - ((after as number) - (before as number));
    const isTrue = this.condition();
    slots[name] = value;
    return !isTrue;
  }

  override heldSince(): readonly number[] {
    return this.falseSince < 0 ? [] : [this.falseSince];
  }

  describe(): string {
    return `while (!${this.label}) cpu_relax()`;
  }
}

/** The value of a plain field, without the checks that an access has. */
export function peek<S extends StructObject, K extends keyof S & string>(object: S, key: K): S[K] {
  return (object as unknown as Record<string, S[K]>)[slotOf(key)] as S[K];
}

/**
 * Waits by asking until the condition holds; does not sleep.
 *
 * @param name the condition as pictures show it.
 * @param condition see the head of this file.
 * @param reads everything that the condition looks at; a change of anything else goes unnoticed.
 */
export function awaitCondition(
  name: string,
  condition: () => boolean,
  reads: readonly Awaited[],
): Operation<void> {
  const operation = new AwaitCondition(name, condition, reads.map(readingOf));
  running.awaited.add(operation);
  return made(operation);
}

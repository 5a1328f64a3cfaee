/**
 * The definition that the explorer and the kernel are measured against: a machine of its own that
 * runs fuzz programs one step at a time, without the kernel, and says of each step what it touches.
 *
 * A step touches *aspects* of objects (an object has up to four), each as a read, a write or a
 * commuting update. Two steps of different tasks depend on each other when they touch one aspect and
 * are not both reads nor both commuting updates, or when one says that it comes after the other.
 * Nothing here keeps clocks or last accesses: whether two steps depend is asked of each pair.
 */

/** What a step touches: three sets of aspects, as bit masks. */
export interface Touched {
  readonly reads: number;
  readonly writes: number;
  readonly commutes: number;
}

/** A step that was taken. */
export interface Event extends Touched {
  readonly task: number;
  readonly outcome: number;
  /** Bit mask of the earlier steps that it comes after whatever both touch. */
  readonly after: number;
}

/** What a step does, by definition. */
export interface Effect {
  /** Aspects of the step's object, numbered from 0: bit masks. */
  readonly reads?: number;
  readonly writes?: number;
  readonly commutes?: number;
  /** The object's new value; as before if left out. */
  readonly value?: number;
  /** What the step returns; tells the task nothing if left out. */
  readonly result?: number;
  /** See {@link Event.after}. */
  readonly after?: number;
  /** A signal comes to the task. */
  readonly signals?: boolean;
}

/** What the definition of a step can see. */
export interface View {
  readonly task: number;
  /** The value of the step's object. */
  readonly value: number;
  /** What the task computed from what it has read. */
  readonly operand: number;
  readonly outcome: number;
  /** The number that this step will have. */
  readonly now: number;
  /** How many signals may still come, to any task. */
  readonly signalsLeft: number;
  /** True if one has come to this task. */
  readonly hasSignal: boolean;
}

/** A step of an operation, by definition. */
export interface StepDefinition {
  /** Null if the step cannot be taken now. */
  readonly take: (view: View) => Effect | null;
  /** In how many ways it can turn out; 1 if left out. */
  readonly arity?: (view: View) => number;
  /** True if the task leaves it out, judged when it gets there. */
  readonly isSkipped?: (view: View) => boolean;
}

/** Straight-line code with jumps, made of a program's statements. */
export type Instruction =
  | {
      readonly kind: 'step';
      readonly step: StepDefinition;
      readonly object: number;
      readonly argument: number;
      /** Which statement it belongs to, for the code that runs on the kernel. */
      readonly statement: number;
    }
  /** Goes to `target` unless the task's register holds `value`. */
  | { readonly kind: 'unless'; readonly value: number; readonly target: number }
  | { readonly kind: 'jump'; readonly target: number };

/** For each task its instructions. */
export type Code = readonly (readonly Instruction[])[];
type StepInstruction = Extract<Instruction, { kind: 'step' }>;

export const ASPECTS_PER_OBJECT = 4;
export const OBJECT_COUNT_MAX = 7;
/** Signals that may come in one execution. */
export const SIGNAL_COUNT_MAX = 1;
/** Values that fields and registers take: 0 … VALUE_COUNT - 1. */
export const VALUE_COUNT = 4;

/** What a task writes: what it was told last, and a constant of the program. */
export function operandOf(register: number, argument: number): number {
  return (register + argument) % VALUE_COUNT;
}

/** True if two steps of different tasks must not be swapped. `later` is the one that came later. */
export function areDependent(earlier: Touched, later: Touched): boolean {
  return (
    (earlier.writes & (later.reads | later.writes | later.commutes)) !== 0 ||
    (later.writes & (earlier.reads | earlier.commutes)) !== 0 ||
    (earlier.reads & later.commutes) !== 0 ||
    (earlier.commutes & later.reads) !== 0
  );
}

/** One run of a program, which can be taken back. */
export class Machine {
  readonly code: Code;
  readonly values: number[];
  /** For each task, what it was told last. */
  readonly registers: number[];
  readonly positions: number[];
  readonly events: Event[] = [];
  /** For each event the earlier events that it comes after, itself left out: bit mask. */
  readonly before: number[] = [];
  private signalsLeft = SIGNAL_COUNT_MAX;
  /** Bit mask of the tasks to which a signal has come. */
  private signalled = 0;

  constructor(code: Code, objectCount: number) {
    this.code = code;
    this.values = Array.from({ length: objectCount }, () => 0);
    this.registers = code.map(() => 0);
    this.positions = code.map(() => 0);
    for (let task = 0; task < code.length; task += 1) this.runForward(task);
  }

  /** The step that the task takes next, or null if it has ended. */
  pending(task: number): StepInstruction | null {
    const instruction = this.code[task]?.[this.positions[task] as number];
    return instruction?.kind === 'step' ? instruction : null;
  }

  /** In how many ways the task can go on: 0 if it has ended or must wait. */
  choices(task: number): number {
    const pending = this.pending(task);
    if (pending === null) return 0;
    const view = this.view(task, pending, 0);
    return pending.step.take(view) === null ? 0 : (pending.step.arity?.(view) ?? 1);
  }

  private view(task: number, { object, argument }: StepInstruction, outcome: number): View {
    return {
      task,
      value: this.values[object] ?? 0,
      operand: operandOf(this.registers[task] as number, argument),
      outcome,
      now: this.events.length,
      signalsLeft: this.signalsLeft,
      hasSignal: (this.signalled & (1 << task)) !== 0,
    };
  }

  /** Takes the task's next step; false, and nothing done, if it cannot be taken. */
  take(task: number, outcome: number): boolean {
    const pending = this.pending(task);
    if (pending === null || outcome >= this.choices(task)) return false;
    const effect = pending.step.take(this.view(task, pending, outcome)) as Effect;
    const shift = pending.object * ASPECTS_PER_OBJECT;
    const event: Event = {
      task,
      outcome,
      reads: (effect.reads ?? 0) << shift,
      writes: (effect.writes ?? 0) << shift,
      commutes: (effect.commutes ?? 0) << shift,
      after: effect.after ?? 0,
    };
    let before = 0;
    for (let at = this.events.length - 1; at >= 0; at -= 1) {
      // What is before an event that is before is known already.
      if ((before & (1 << at)) !== 0) continue;
      const other = this.events[at] as Event;
      const isBefore =
        other.task === task || areDependent(other, event) || (event.after & (1 << at)) !== 0;
      if (isBefore) before |= (1 << at) | (this.before[at] as number);
    }
    this.events.push(event);
    this.before.push(before);
    if (effect.value !== undefined) this.values[pending.object] = effect.value;
    if (effect.result !== undefined) this.registers[task] = effect.result;
    if (effect.signals === true) {
      this.signalsLeft -= 1;
      this.signalled |= 1 << task;
    }
    this.positions[task] = (this.positions[task] as number) + 1;
    this.runForward(task);
    return true;
  }

  /** Runs the task's jumps, which nobody sees, up to its next step or its end. */
  private runForward(task: number): void {
    const code = this.code[task] as readonly Instruction[];
    for (;;) {
      const at = this.positions[task] as number;
      const instruction = code[at];
      if (instruction === undefined) return;
      if (instruction.kind === 'step') {
        const isSkipped = instruction.step.isSkipped?.(this.view(task, instruction, 0)) ?? false;
        if (!isSkipped) return;
        this.positions[task] = at + 1;
        continue;
      }
      const isTaken = instruction.kind === 'jump' || this.registers[task] !== instruction.value;
      this.positions[task] = isTaken ? instruction.target : at + 1;
    }
  }

  /** What the program has come to: values, what each task was told last, and who waits where. */
  outcome(): string {
    const waiting = this.code.map((_, task) => (this.pending(task) === null ? 'ended' : 'waits'));
    return `values ${this.values.join(' ')}, told ${this.registers.join(' ')}, ${waiting.join(' ')}`;
  }

  /**
   * The name of the trace of the steps so far: of all schedules that have it, the least. Found by
   * taking, again and again, the first task whose next step has nothing before it that is missing.
   */
  traceKey(): string {
    const next = this.code.map((_, task) => this.nextEvent(task, 0));
    let done = 0;
    let key = '';
    for (let count = 0; count < this.events.length; count += 1) {
      for (let task = 0; task < next.length; task += 1) {
        const at = next[task] as number;
        if (at >= this.events.length || ((this.before[at] as number) & ~done) !== 0) continue;
        key += `${task}${'abcdefgh'[(this.events[at] as Event).outcome]}`;
        done |= 1 << at;
        next[task] = this.nextEvent(task, at + 1);
        break;
      }
    }
    return key;
  }

  private nextEvent(task: number, from: number): number {
    let at = from;
    while (at < this.events.length && this.events[at]?.task !== task) at += 1;
    return at;
  }

  /** All that {@link restore} needs to come back here. */
  save(): Saved {
    return {
      values: [...this.values],
      registers: [...this.registers],
      positions: [...this.positions],
      eventCount: this.events.length,
      signalsLeft: this.signalsLeft,
      signalled: this.signalled,
    };
  }

  restore(saved: Saved): void {
    for (let at = 0; at < saved.values.length; at += 1)
      this.values[at] = saved.values[at] as number;
    for (let task = 0; task < this.code.length; task += 1) {
      this.registers[task] = saved.registers[task] as number;
      this.positions[task] = saved.positions[task] as number;
    }
    this.events.length = saved.eventCount;
    this.before.length = saved.eventCount;
    this.signalsLeft = saved.signalsLeft;
    this.signalled = saved.signalled;
  }
}

export interface Saved {
  readonly values: readonly number[];
  readonly registers: readonly number[];
  readonly positions: readonly number[];
  readonly eventCount: number;
  readonly signalsLeft: number;
  readonly signalled: number;
}

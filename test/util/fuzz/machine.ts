/**
 * The definition that the explorer and the kernel are measured against: a machine of its own that
 * runs fuzz programs one step at a time, without the kernel, and says of each step what it touches.
 *
 * A step touches *aspects* of objects (an object has up to five), each as a read, a write or a
 * commuting update. Two steps of different tasks depend on each other when they touch one aspect and
 * are not both reads nor both commuting updates, or when one says that it comes after the other.
 * Nothing here keeps clocks or last accesses: whether two steps depend is asked of each pair.
 */

import { Misuse } from './kind/kind.ts';

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
  /** Bit mask of the objects whose value it changed; 0 in programs without rounds. */
  readonly changed: number;
}

/**
 * An object, as far as the machine needs to know it. Its value, mostly a number, is never changed in
 * place; what it means is the affair of its kind.
 */
export interface ObjectDefinition<V = number> {
  readonly initial: V;
  /** The value as it is compared with what the kernel's object has come to; itself if left out. */
  readonly show?: (value: V) => number;
  /** How often the task holds it: one who ends and still does has forgotten to let go. */
  readonly holds?: (value: V, task: number) => number;
}

/** What a step does, by definition. */
export interface Effect<V = number> {
  /** Aspects of the step's object, numbered from 0: bit masks. */
  readonly reads?: number;
  readonly writes?: number;
  readonly commutes?: number;
  /** The object's new value; as before if left out. */
  readonly value?: V;
  /** What the step returns; tells the task nothing if left out. */
  readonly result?: number;
  /** See {@link Event.after}. */
  readonly after?: number;
  /** A signal comes to the task. */
  readonly signals?: boolean;
  /** Added to how deep the task has preemption off. */
  readonly preempt?: number;
  /** The task has interrupts off from now on, or on. */
  readonly irqsOff?: boolean;
  /** A counter was misused: a finding. */
  readonly isMisuse?: boolean;
}

/** What the definition of a step can see. */
export interface View<V = number> {
  readonly task: number;
  /** The value of the step's object. */
  readonly value: V;
  /** What the task computed from what it has read. */
  readonly operand: number;
  readonly outcome: number;
  /** The number that this step will have. */
  readonly now: number;
  /** How many signals may still come, to any task. */
  readonly signalsLeft: number;
  /** True if one has come to this task. */
  readonly hasSignal: boolean;
  /** True if the task has interrupts off. */
  readonly irqsOff: boolean;
}

/** A step of an operation, by definition. */
export interface StepDefinition<V = number> {
  /** Null if the step cannot be taken now. */
  readonly take: (view: View<V>) => Effect<V> | null;
  /** In how many ways it can turn out; 1 if left out. */
  readonly arity?: (view: View<V>) => number;
  /** True if the task leaves it out, judged when it gets there. */
  readonly isSkipped?: (view: View<V>) => boolean;
  /** True if it turns preemption off, or tries to do something that does. */
  readonly disablesPreemption?: boolean;
  /** True if it may sleep: coming to it where that is not allowed is a finding. */
  readonly maySleep?: boolean;
  /** True for what an interrupt handler begins with. */
  readonly isEntry?: boolean;
}

/** Straight-line code with jumps, made of a program's statements. */
export type Instruction =
  | {
      readonly kind: 'step';
      readonly step: StepDefinition;
      readonly object: number;
      readonly argument: number;
      /** The task that it starts. */
      readonly starts?: number;
      /**
       * The end of a round: left out if the register holds `value`. Otherwise the next round begins at
       * `target`: at once if this one has changed something, or else, in a step, when somebody else has
       * changed something that it had looked at.
       */
      readonly again?: { readonly value: number; readonly target: number };
    }
  /** A round begins: the register is 0. */
  | { readonly kind: 'round' }
  /** Goes to `target` unless the task's register holds `value`. */
  | { readonly kind: 'unless'; readonly value: number; readonly target: number }
  /** Ends the task if its register holds `value`. */
  | { readonly kind: 'bug'; readonly value: number }
  /** Plain accesses of an object; the program must be one that pauses. */
  | { readonly kind: 'load'; readonly object: number }
  | { readonly kind: 'store'; readonly object: number; readonly argument: number }
  | { readonly kind: 'jump'; readonly target: number };

/** A program as the machine takes it. */
export interface MachineProgram {
  /** For each task its instructions. */
  readonly code: readonly (readonly Instruction[])[];
  readonly objects: readonly ObjectDefinition[];
  /** For each task the CPU that it may share with others, or null for one of its own. */
  readonly cpus: readonly (number | null)[];
  /** The tasks that are interrupt handlers: bit mask. */
  readonly handlers: number;
  /** True if what a task does between two operations is a step of its own. */
  readonly pauses: boolean;
}

type StepInstruction = Extract<Instruction, { kind: 'step' }>;

export const ASPECTS_PER_OBJECT = 5;
export const OBJECT_COUNT_MAX = 5;
export const CPU_COUNT_MAX = 3;
/** The aspect of CPU 0, behind those of the objects. */
const CPU_ASPECT = ASPECTS_PER_OBJECT * OBJECT_COUNT_MAX;
/** What handlers of CPU 0 conflict on with everything that is done there. */
const HANDLER_ASPECT = CPU_ASPECT + CPU_COUNT_MAX;
/** Sets of events are bit masks. */
export const EVENT_COUNT_MAX = 31;
/** The position of a task that is not there yet. */
const ABSENT = -1;
/** Signals that may come in one execution. */
export const SIGNAL_COUNT_MAX = 1;
/** What a task is found to do wrong: each a letter. */
export const FOUND = { bug: 'B', counter: 'C', held: 'H', sleep: 'S' } as const;
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

/** What an execution has come to, in a form that can be compared. */
export function outcomeText(
  values: readonly number[],
  told: readonly (number | string)[],
  waiting: readonly string[],
  found: readonly string[],
): string {
  const text = `values ${values.join(' ')}, told ${told.join(' ')}, ${waiting.join(' ')}`;
  return found.every((item) => item === '') ? text : `${text}, found ${found.join('/')}`;
}

/** One run of a program, which can be taken back. */
export class Machine {
  private readonly program: MachineProgram;
  readonly code: MachineProgram['code'];
  readonly values: number[];
  /** For each task, what it was told last. */
  readonly registers: number[];
  readonly positions: number[];
  /** For each task, how deep it has preemption off: it then shuts out the others of its CPU. */
  private readonly preempt: number[];
  /** Bit masks of the tasks that have interrupts off, and of the handlers that have begun and not ended. */
  private irqsOff = 0;
  private inHandler = 0;
  /** For each task what it was found to do wrong, in order. */
  readonly found: string[];
  /** Bit mask of the tasks whose next step is what they do before their next operation. */
  private paused = 0;
  /** What plain accesses have touched since they were last asked for. */
  private plainReads = 0;
  private plainWrites = 0;
  /** For each task the event with which its present round begins, and whether it changed nothing. */
  private readonly roundStart: number[];
  private readonly isPure: boolean[];
  private readonly hasRounds: boolean;
  /** The number of the first event that is yet to begin. */
  private firstOfNext = 0;
  readonly events: Event[] = [];
  /** For each event the earlier events that it comes after, itself left out: bit mask. */
  readonly before: number[] = [];
  /** For each task the event that started it, if it was not there from the beginning. */
  private readonly startedBy: number[] = [];
  private signalsLeft = SIGNAL_COUNT_MAX;
  /** Bit mask of the tasks to which a signal has come. */
  private signalled = 0;

  constructor(program: MachineProgram) {
    const { code, objects } = program;
    this.program = program;
    this.code = code;
    this.values = objects.map((object) => object.initial);
    this.preempt = code.map(() => 0);
    this.found = code.map(() => '');
    this.registers = code.map(() => 0);
    this.positions = code.map(() => 0);
    this.roundStart = code.map(() => 0);
    this.isPure = code.map(() => true);
    this.hasRounds = code.flat().some(({ kind }) => kind === 'round');
    for (const { starts } of code.flat().filter((item) => item.kind === 'step')) {
      if (starts !== undefined) this.positions[starts] = ABSENT;
    }
    for (let task = 0; task < code.length; task += 1) this.runForward(task);
  }

  /** The step that the task takes next, or null if it has ended. */
  pending(task: number): StepInstruction | null {
    const instruction = this.code[task]?.[this.positions[task] as number];
    return instruction?.kind === 'step' ? instruction : null;
  }

  /** In how many ways the task can go on: 0 if it has ended or must wait. */
  choices(task: number): number {
    if ((this.paused & (1 << task)) !== 0) return this.isShutOut(task) ? 0 : 1;
    const pending = this.pending(task);
    if (pending === null) return 0;
    if (pending.step.isEntry === true) return this.isShutOutAsHandler(task) ? 0 : 1;
    if (this.isShutOut(task)) return 0;
    if (pending.again !== undefined) return this.changesFor(task).length > 0 ? 1 : 0;
    const view = this.view(task, pending, 0);
    return pending.step.take(view) === null ? 0 : (pending.step.arity?.(view) ?? 1);
  }

  private isShutOut(task: number): boolean {
    const { cpus } = this.program;
    const cpu = cpus[task];
    // Nobody else goes on before a handler ends.
    if (cpu === null || (this.inHandler & (1 << task)) !== 0) return false;
    const away = this.irqsOff | this.inHandler;
    return this.preempt.some(
      (depth, other) =>
        (depth > 0 || (away & (1 << other)) !== 0) && other !== task && cpus[other] === cpu,
    );
  }

  /** Whether a handler cannot begin: preemption that is off does not keep it from that. */
  private isShutOutAsHandler(task: number): boolean {
    const { cpus } = this.program;
    const cpu = cpus[task];
    const away = this.irqsOff | this.inHandler;
    return cpu !== null && cpus.some((other, at) => other === cpu && (away & (1 << at)) !== 0);
  }

  /** What a step touches of the task's CPU, if it shares one: shutting out others is a write. */
  private cpuTouched(task: number, disablesPreemption: boolean): Touched {
    const { cpus } = this.program;
    const cpu = cpus[task] ?? null;
    const isShared = cpu !== null && cpus.some((other, at) => other === cpu && at !== task);
    if (!isShared) return { reads: 0, writes: 0, commutes: 0 };
    const all = 1 << (HANDLER_ASPECT + cpu);
    if ((this.program.handlers & (1 << task)) !== 0) return { reads: 0, writes: all, commutes: 0 };
    const aspect = 1 << (CPU_ASPECT + cpu);
    const isOff = (this.irqsOff & (1 << task)) !== 0;
    const isAlone = (this.preempt[task] as number) > 0 || isOff || disablesPreemption;
    return { reads: 0, writes: isAlone ? aspect : 0, commutes: isAlone ? all : aspect | all };
  }

  private view(task: number, { object, argument }: StepInstruction, outcome: number): View {
    return {
      task,
      value: this.values[object] as number,
      operand: operandOf(this.registers[task] as number, argument),
      outcome,
      now: this.events.length,
      signalsLeft: this.signalsLeft,
      hasSignal: (this.signalled & (1 << task)) !== 0,
      irqsOff: (this.irqsOff & (1 << task)) !== 0,
    };
  }

  /** Takes the task's next step; false, and nothing done, if it cannot be taken. */
  take(task: number, outcome: number): boolean {
    if (outcome >= this.choices(task)) return false;
    this.plainReads = 0;
    this.plainWrites = 0;
    this.firstOfNext = this.events.length + 1;
    const values = this.hasRounds ? [...this.values] : [];
    const event =
      (this.paused & (1 << task)) === 0
        ? this.operate(task, outcome, this.pending(task) as StepInstruction)
        : this.goOn(task);
    let changed = 0;
    for (const [at, value] of values.entries()) if (value !== this.values[at]) changed |= 1 << at;
    this.before.push(this.eventsBefore(event));
    this.events.push(changed === 0 ? event : { ...event, changed });
    return true;
  }

  /** For each object that the task's present round has looked at the first event that did. */
  private firstLooks(task: number): ReadonlyMap<number, number> {
    const looks = new Map<number, number>();
    for (let at = this.roundStart[task] as number; at < this.events.length; at += 1) {
      const { task: own, reads, writes, commutes } = this.events[at] as Event;
      if (own !== task) continue;
      for (let object = 0; object < this.values.length; object += 1) {
        const aspects = ((1 << ASPECTS_PER_OBJECT) - 1) << (object * ASPECTS_PER_OBJECT);
        const isTouched = ((reads | writes | commutes) & aspects) !== 0;
        if (isTouched && !looks.has(object)) looks.set(object, at);
      }
    }
    return looks;
  }

  /** The events of others that changed what the task's present round had looked at before. */
  private changesFor(task: number): number[] {
    const changes: number[] = [];
    const looks = [...this.firstLooks(task)];
    for (let at = this.roundStart[task] as number; at < this.events.length; at += 1) {
      const { task: other, changed } = this.events[at] as Event;
      if (other === task) continue;
      if (looks.some(([object, look]) => look < at && (changed & (1 << object)) !== 0)) {
        changes.push(at);
      }
    }
    return changes;
  }

  /**
   * What waiting for a change is. That of one object is the first of several in a row, unless they
   * commute; otherwise each may be the first, which makes a difference.
   */
  private waitEffect(task: number): Effect {
    const objects = [...this.firstLooks(task).keys()];
    const [first] = this.changesFor(task) as [number];
    const aspects = objects.map((object) => 1 << (object * ASPECTS_PER_OBJECT));
    const { commutes } = this.events[first] as Event;
    if (objects.length === 1 && (commutes & (aspects[0] as number)) === 0) {
      return { after: 1 << first };
    }
    return { reads: aspects.reduce((all, aspect) => all | aspect, 0) };
  }

  /** The step of an operation, and, if the task does not pause, what it does after it. */
  private operate(task: number, outcome: number, pending: StepInstruction): Event {
    const effect =
      pending.again === undefined
        ? (pending.step.take(this.view(task, pending, outcome)) as Effect)
        : this.waitEffect(task);
    const shift = pending.object * ASPECTS_PER_OBJECT;
    const cpu = this.cpuTouched(task, pending.step.disablesPreemption === true);
    if (effect.value !== undefined) {
      if (effect.value !== this.values[pending.object]) this.isPure[task] = false;
      this.values[pending.object] = effect.value;
    }
    if (effect.result !== undefined) this.registers[task] = effect.result;
    if (effect.signals === true) {
      this.signalsLeft -= 1;
      this.signalled |= 1 << task;
    }
    const preempt = (this.preempt[task] as number) + (effect.preempt ?? 0);
    if (preempt < 0) throw new Misuse('preemption is turned on more often than off');
    this.preempt[task] = preempt;
    if (effect.irqsOff === true) this.irqsOff |= 1 << task;
    if (effect.irqsOff === false) this.irqsOff &= ~(1 << task);
    if (effect.isMisuse === true) this.find(task, FOUND.counter);
    if (pending.step.isEntry === true) this.inHandler |= 1 << task;
    if (pending.starts !== undefined) {
      this.startedBy[pending.starts] = this.events.length;
      this.positions[pending.starts] = 0;
      this.runForward(pending.starts);
    }
    this.positions[task] = pending.again?.target ?? (this.positions[task] as number) + 1;
    if (this.program.pauses) this.paused |= 1 << task;
    else this.runForward(task);
    return {
      task,
      outcome,
      reads: ((effect.reads ?? 0) << shift) | this.plainReads,
      writes: ((effect.writes ?? 0) << shift) | this.plainWrites | cpu.writes,
      commutes: ((effect.commutes ?? 0) << shift) | cpu.commutes,
      after: effect.after ?? 0,
      changed: 0,
    };
  }

  /** The step of what a task does between two operations. */
  private goOn(task: number): Event {
    const { writes, commutes } = this.cpuTouched(task, false);
    this.paused &= ~(1 << task);
    this.runForward(task);
    const { plainReads, plainWrites } = this;
    return {
      task,
      outcome: 0,
      reads: plainReads,
      writes: writes | plainWrites,
      commutes,
      after: 0,
      changed: 0,
    };
  }

  /** Which of the events so far come before a new one. */
  private eventsBefore(event: Event): number {
    const start = this.startedBy[event.task];
    let before = start === undefined ? 0 : (1 << start) | (this.before[start] as number);
    for (let at = this.events.length - 1; at >= 0; at -= 1) {
      // What is before an event that is before is known already.
      if ((before & (1 << at)) !== 0) continue;
      const other = this.events[at] as Event;
      const isBefore =
        other.task === event.task || areDependent(other, event) || (event.after & (1 << at)) !== 0;
      if (isBefore) before |= (1 << at) | (this.before[at] as number);
    }
    return before;
  }

  /** Runs what the task does by itself, up to its next operation or its end. */
  private runForward(task: number): void {
    const code = this.code[task] as readonly Instruction[];
    for (;;) {
      const at = this.positions[task] as number;
      const instruction = code[at];
      if (instruction === undefined) {
        this.end(task);
        return;
      }
      const register = this.registers[task] as number;
      let next = at + 1;
      if (instruction.kind === 'round') {
        this.registers[task] = 0;
        this.roundStart[task] = this.firstOfNext;
        this.isPure[task] = true;
      } else if (instruction.kind === 'step' && instruction.again !== undefined) {
        if (register !== instruction.again.value) {
          if (this.isPure[task] === true) return;
          next = instruction.again.target;
        }
      } else if (instruction.kind === 'step') {
        const isSkipped = instruction.step.isSkipped?.(this.view(task, instruction, 0)) ?? false;
        if (!isSkipped) {
          if (instruction.step.maySleep === true && this.isAtomic(task)) {
            this.find(task, FOUND.sleep);
          }
          return;
        }
      } else if (instruction.kind === 'bug') {
        if (register === instruction.value) {
          this.find(task, FOUND.bug);
          this.positions[task] = code.length;
          return;
        }
      } else if (instruction.kind === 'load') {
        this.plainReads |= 1 << (instruction.object * ASPECTS_PER_OBJECT);
        this.registers[task] = this.values[instruction.object] as number;
      } else if (instruction.kind === 'store') {
        this.plainWrites |= 1 << (instruction.object * ASPECTS_PER_OBJECT);
        this.values[instruction.object] = operandOf(register, instruction.argument);
      } else if (instruction.kind === 'jump' || register !== instruction.value) {
        next = instruction.target;
      }
      this.positions[task] = next;
    }
  }

  private end(task: number): void {
    for (const [at, { holds }] of this.program.objects.entries()) {
      const count = holds?.(this.values[at] as number, task) ?? 0;
      for (let left = count; left > 0; left -= 1) this.find(task, FOUND.held);
    }
    // Whoever returns leaves the CPU to others, whatever it has forgotten.
    this.preempt[task] = 0;
    this.irqsOff &= ~(1 << task);
    this.inHandler &= ~(1 << task);
  }

  private isAtomic(task: number): boolean {
    const isHandler = (this.program.handlers & (1 << task)) !== 0;
    return isHandler || (this.preempt[task] as number) > 0 || (this.irqsOff & (1 << task)) !== 0;
  }

  private find(task: number, what: string): void {
    this.found[task] = (this.found[task] as string) + what;
  }

  /** What the program has come to: values, what each task was told last, and who waits where. */
  outcome(): string {
    const isPaused = (task: number): boolean => (this.paused & (1 << task)) !== 0;
    const waiting = this.code.map((_, task) => {
      if (this.positions[task] === ABSENT) return 'absent';
      return isPaused(task) || this.pending(task) !== null ? 'waits' : 'ended';
    });
    const values = this.program.objects.map(({ show }, at) => {
      const value = this.values[at] as number;
      return show === undefined ? value : show(value);
    });
    // A task that does not go on does not look at what it was told.
    const told = this.registers.map((register, task) => (isPaused(task) ? '-' : register));
    return outcomeText(values, told, waiting, this.found);
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
      preempt: [...this.preempt],
      found: [...this.found],
      irqsOff: this.irqsOff,
      inHandler: this.inHandler,
      roundStart: [...this.roundStart],
      isPure: [...this.isPure],
      eventCount: this.events.length,
      signalsLeft: this.signalsLeft,
      signalled: this.signalled,
      paused: this.paused,
    };
  }

  restore(saved: Saved): void {
    for (let at = 0; at < saved.values.length; at += 1)
      this.values[at] = saved.values[at] as number;
    for (let task = 0; task < this.code.length; task += 1) {
      this.registers[task] = saved.registers[task] as number;
      this.positions[task] = saved.positions[task] as number;
      this.preempt[task] = saved.preempt[task] as number;
      this.found[task] = saved.found[task] as string;
      this.roundStart[task] = saved.roundStart[task] as number;
      this.isPure[task] = saved.isPure[task] as boolean;
    }
    this.irqsOff = saved.irqsOff;
    this.inHandler = saved.inHandler;
    this.events.length = saved.eventCount;
    this.before.length = saved.eventCount;
    this.signalsLeft = saved.signalsLeft;
    this.signalled = saved.signalled;
    this.paused = saved.paused;
  }
}

export interface Saved {
  readonly values: readonly number[];
  readonly registers: readonly number[];
  readonly positions: readonly number[];
  readonly preempt: readonly number[];
  readonly found: readonly string[];
  readonly irqsOff: number;
  readonly inHandler: number;
  readonly roundStart: readonly number[];
  readonly isPure: readonly boolean[];
  readonly eventCount: number;
  readonly signalsLeft: number;
  readonly signalled: number;
  readonly paused: number;
}

/**
 * Turns the notes of an execution into a recording: objects into names, stacks into places.
 *
 * Accesses are kept only if they have to do with a finding: those of its memory or of the same field,
 * those of its step and of the steps that bear witness to it.
 */
import { assert } from '../base/assert.ts';
import { hex } from '../base/ulong.ts';
import type { Replay } from '../check/replay.ts';
import type { LockReport } from '../kernel/finding.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Memory } from '../kernel/memory.ts';
import type { Task } from '../kernel/task.ts';
import type { CodeStack } from './code-place.ts';
import type { EventNote, FindingNote, Moment, Notes, StepNote, TouchNote } from './notes.ts';
import type {
  RecordedEvent,
  RecordedFinding,
  RecordedFrame,
  RecordedLocking,
  RecordedLockStack,
  RecordedMemory,
  RecordedOrigin,
  RecordedStep,
  RecordedTask,
  RecordedTouch,
  RecordedWait,
  Recording,
} from './recording.ts';

/** Turns a raw place (`file:///…/gru.ts:41:7`) into what people read, or null to leave it out. */
export type ResolvePlace = (raw: string) => string | null;

/** CPUs from here on are made for tasks whose scenario names none. */
const OWN_CPU_MIN = 1000;

const NOWHERE: RecordedOrigin = {
  step: null,
  task: null,
  taskName: '',
  function: '',
  place: null,
  stack: [],
};

export class Composer {
  private readonly notes: Notes;
  private readonly resolvePlace: ResolvePlace;
  private readonly memories = new Set<Memory>();
  private readonly steps = new Set<number>();
  private readonly paths = new Set<string>();

  constructor(notes: Notes, resolvePlace: ResolvePlace) {
    this.notes = notes;
    this.resolvePlace = resolvePlace;
    for (const { finding, moment, access } of notes.findings) {
      if (access !== null) this.paths.add(access.path);
      if (finding.memory !== null) this.memories.add(finding.memory);
      for (const step of [moment.step, ...finding.witnesses]) {
        if (step !== null) this.steps.add(step);
      }
    }
  }

  /**
   * The recording of the run that the notes were taken of. Call while its kernel is the running one,
   * since operations are asked who blocks them.
   */
  compose({ kernel, schedule, diverged, isOver }: Replay): Recording {
    const { outcomes } = schedule;
    const { initial } = this.notes;
    return {
      ...(initial === null
        ? {}
        : { initial: Array.from(initial, ([path, value]) => ({ path, value })) }),
      tasks: kernel.tasks.map((task) => this.task(task)),
      steps: this.notes.steps.map((step, at) => this.step(step, at, outcomes[at] ?? 0)),
      findings: this.notes.findings.map((finding) => this.finding(finding)),
      waiting: isOver ? this.waiting(kernel) : [],
      goals: [...kernel.goals],
      log: [...kernel.log],
      divergence: diverged,
    };
  }

  private task(task: Task): RecordedTask {
    return {
      index: task.index,
      name: task.name,
      kind: task.kind,
      cpu: cpuNumber(task),
      spawnedAt: task.spawnedAt < 0 ? null : task.spawnedAt,
      events: this.events(this.notes.entries[task.index] ?? [], null),
    };
  }

  private step(note: StepNote, index: number, outcome: number): RecordedStep {
    const { task } = note.moment;
    const stack = this.stack(note.moment);
    return {
      index,
      task: task.index,
      taskName: task.name,
      taskKind: task.kind,
      cpu: cpuNumber(task),
      function: stack.at(-1)?.function ?? task.name,
      stack,
      operation: note.operation,
      result: note.result?.text ?? null,
      isError: note.result?.isError ?? false,
      outcome,
      place: stack.at(-1)?.place ?? null,
      events: this.events(note.events, index),
      ...(note.after === null ? {} : { after: note.after }),
    };
  }

  private events(notes: readonly EventNote[], step: number | null): RecordedEvent[] {
    const isOfInterest = step !== null && this.steps.has(step);
    return notes
      .filter((note) => note.kind !== 'access' || isOfInterest || this.isToldOf(note))
      .map((note) => this.event(note));
  }

  private isToldOf({ memory, path }: TouchNote): boolean {
    return this.memories.has(memory) || this.paths.has(path);
  }

  private event(note: EventNote): RecordedEvent {
    if (note.kind === 'call') {
      const { kind, args } = note;
      return { kind, function: note.function, args, place: this.resolve(note.at) };
    }
    if (note.kind === 'access') {
      const { kind, path, mode, moment } = note;
      return { kind, path, mode, place: this.placeOf(moment), stack: this.stack(moment) };
    }
    if (note.kind === 'mishap') {
      return { kind: note.kind, text: note.text, place: this.resolve(note.at) };
    }
    return note;
  }

  private finding({ finding, moment, isAtOperation, access }: FindingNote): RecordedFinding {
    const isInTask = finding.task !== null && finding.task.index >= 0;
    const { memory } = finding;
    return {
      kind: finding.kind,
      object: finding.object,
      message: finding.message,
      invariant: finding.invariant,
      ...(finding.explanation === undefined ? {} : { explanation: finding.explanation }),
      places: finding.places,
      ...(isInTask ? this.origin(moment) : NOWHERE),
      isAtOperation: isInTask && isAtOperation,
      access: isInTask && access !== null ? { path: access.path, mode: access.mode } : null,
      memory: memory === null ? null : this.memory(memory, moment),
      witnesses: finding.witnesses,
      locking: finding.locking === null ? null : this.locking(finding.locking),
    };
  }

  private locking(report: LockReport): RecordedLocking {
    const stacks = report.stacks.map((item): RecordedLockStack => {
      const moment = item.step === null ? undefined : this.notes.steps[item.step]?.moment;
      const known = moment === undefined ? [] : this.stack(moment);
      // What was noted in plain code after the operation of a step may be in other functions.
      const isSame =
        known.length === item.stack.length &&
        known.every((frame, at) => frame.function === item.stack[at]);
      const bare = item.stack.map((name) => ({ function: name, place: null }));
      return { ...item, stack: isSame ? known : bare };
    });
    return { ...report, stacks };
  }

  private memory(memory: Memory, finding: Moment): RecordedMemory {
    const last = new Map<Task, TouchNote>();
    for (const touch of this.notes.touches) {
      const { task, step } = touch.moment;
      const isFinding = task === finding.task && step === finding.step;
      if (touch.memory !== memory || isFinding) continue;
      last.delete(task);
      last.set(task, touch);
    }
    return {
      name: memory.name,
      kind: memory.kind,
      address: hex(memory.address),
      size: memory.size,
      allocated: this.originOrNull(this.notes.allocations.get(memory)),
      freed: this.originOrNull(this.notes.frees.get(memory)),
      touched: Array.from(last.values(), (touch) => this.touch(touch)),
      operations: this.notes.steps.flatMap((step, at) => (step.memory === memory ? [at] : [])),
    };
  }

  private touch({ moment, path, mode }: TouchNote): RecordedTouch {
    return { ...this.origin(moment), path, mode };
  }

  private waiting(kernel: Kernel): RecordedWait[] {
    const blocked = kernel.tasks.filter((task) => !task.isDone && task.kind !== 'daemon');
    return blocked.map((task) => this.wait(task));
  }

  private wait(task: Task): RecordedWait {
    const operation = task.pending;
    assert(operation !== null, 'a task that has not ended waits for something');
    const stack = this.stack(this.notes.momentOf(task));
    return {
      task: task.index,
      taskName: task.name,
      cpu: cpuNumber(task),
      operation: operation.describe(task),
      function: stack.at(-1)?.function ?? task.name,
      place: stack.at(-1)?.place ?? null,
      stack,
      waitsFor: blockersOf(task).map((other) => other.index),
      holds: task.heldLocks.map((lock) => {
        const step = lock.step < 0 ? null : lock.step;
        const moment = step === null ? undefined : this.notes.steps[step]?.moment;
        const place = moment === undefined ? null : this.placeOf(moment);
        return { lock: lock.path, step, place };
      }),
    };
  }

  private originOrNull(moment: Moment | undefined): RecordedOrigin | null {
    return moment === undefined ? null : this.origin(moment);
  }

  private origin(moment: Moment): RecordedOrigin {
    const stack = this.stack(moment);
    const { task } = moment;
    return {
      step: moment.step,
      task: task.index < 0 ? null : task.index,
      taskName: task.name,
      function: stack.at(-1)?.function ?? task.name,
      place: stack.at(-1)?.place ?? null,
      stack,
    };
  }

  private stack({ frames }: Moment): RecordedFrame[] {
    return frames.map((frame) => ({ function: frame.function, place: this.resolve(frame.at) }));
  }

  private placeOf({ frames }: Moment): string | null {
    return this.resolve(frames.at(-1)?.at ?? null);
  }

  private resolve(stack: CodeStack | null): string | null {
    const raw = stack?.place ?? null;
    return raw === null ? null : this.resolvePlace(raw);
  }
}

/** Who keeps `task` from going on: whoever has its CPU, or whoever its operation waits for. */
function blockersOf(task: Task): readonly Task[] {
  const { cpu } = task;
  const holder = cpu.holders.at(-1);
  if (cpu.isShared && holder !== undefined && holder !== task) return [holder];
  return task.pending?.blockers(task) ?? [];
}

function cpuNumber(task: Task): number | null {
  return task.cpu.id >= OWN_CPU_MIN || task.cpu.id < 0 ? null : task.cpu.id;
}

/**
 * Takes notes of one execution.
 *
 * The recorder is a tracer, which sees steps, calls and returns, and a watch, which sees accesses and
 * allocations. It must be the first of the watches: then what it notes comes before the finding that
 * a detector makes of it. Stacks are kept as they are while the execution runs; source places, which
 * are costly, are read off them at the end, and only of what the recording keeps.
 */
import { Call } from '../kernel/call.ts';
import type { Finding } from '../kernel/finding.ts';
import { fieldPath, type Kernel } from '../kernel/kernel.ts';
import type { KernelObject, Memory } from '../kernel/memory.ts';
import { modeOf, READ, WRITE, type Access } from '../kernel/operation.ts';
import type { Operation, Yieldable } from '../kernel/operation.ts';
import { PLAIN_CODE } from '../kernel/plain-code.ts';
import type { HeldLock, Task } from '../kernel/task.ts';
import type { AssertionGrade, Tracer, Use, Watch } from '../kernel/watch.ts';
import { CodeStack } from './code-place.ts';
import { MemoryState } from './memory-state.ts';
import type {
  AccessNote,
  EventNote,
  FindingNote,
  FrameNote,
  Moment,
  Notes,
  StepNote,
  TouchNote,
} from './notes.ts';
import type { AccessName, RecordedChange } from './recording.ts';
import { argumentsText, resultText, returnedText } from './value-text.ts';

export class Recorder implements Tracer, Watch, Notes {
  readonly steps: StepNote[] = [];
  readonly entries: EventNote[][] = [];
  readonly findings: FindingNote[] = [];
  readonly touches: TouchNote[] = [];
  readonly allocations = new Map<Memory, Moment>();
  readonly frees = new Map<Memory, Moment>();

  readonly initial: Map<string, string> | null;
  private readonly state: MemoryState | null;
  /** The functions that each task is in, by index, for the names of returns. */
  private readonly callees: string[][] = [];
  /** Where each task made what it yielded last. */
  private readonly lastMade = new Map<Task, CodeStack>();
  private readonly callStacks = new WeakMap<Call<unknown>, CodeStack>();
  /** The task whose operation is being performed: findings of it are about the operation. */
  private performing: Task | null = null;
  /** The step being taken, if it is one of plain code that has no name yet; otherwise -1. */
  private plainStep = -1;
  /** The access that the last step of plain code is called by. */
  private namingAccess: AccessNote | null = null;
  /** What a detector is being told of, if it is an access. */
  private lastAccess: AccessNote | null = null;

  /** @param hasValues whether to note what each step changes in memory. */
  constructor(hasValues = false) {
    this.state = hasValues ? new MemoryState() : null;
    this.initial = hasValues ? new Map() : null;
  }

  /** Call once, when the execution is over. */
  finish(): void {
    this.noteState();
  }

  /** What the last step has changed, as seen before the next one. */
  private noteState(): void {
    const { state } = this;
    if (state === null) return;
    const changes = state.changes();
    const last = this.steps.at(-1);
    if (last === undefined) this.noteInitial(changes);
    else last.after ??= { changes, held: last.moment.task.heldLocks.map((lock) => heldText(lock)) };
  }

  private noteInitial(changes: readonly RecordedChange[]): void {
    for (const { path, value } of changes) this.initial?.set(path, value);
  }

  private watchOld(memory: Memory): void {
    this.noteInitial(this.state?.watchOld(memory) ?? []);
  }

  // ---- tracer -------------------------------------------------------------------------------

  onMade(task: Task, item: Yieldable<unknown>): void {
    const stack = new CodeStack();
    this.lastAccess = null;
    this.lastMade.set(task, stack);
    if (item instanceof Call) this.callStacks.set(item, stack);
  }

  onStep(task: Task, operation: Operation<unknown>, description: string): void {
    this.noteState();
    if (operation.memory !== null) this.watchOld(operation.memory);
    this.performing = task;
    this.lastAccess = null;
    const isPlain = operation === PLAIN_CODE;
    const made = this.lastMade.get(task) ?? null;
    if (isPlain) this.performing = null;
    const moment = this.moment(task, this.steps.length, isPlain ? new CodeStack(made) : made);
    this.plainStep = isPlain ? this.steps.length : -1;
    this.steps.push({
      moment,
      operation: description,
      memory: operation.memory,
      events: [],
      result: null,
      after: null,
    });
    if (operation.memory === null) return;
    this.touches.push({ path: description, mode: 'use', memory: operation.memory, moment });
  }

  onResult(_task: Task, result: unknown): void {
    this.performing = null;
    this.lastAccess = null;
    const index = this.steps.length - 1;
    const step = this.steps[index] as StepNote;
    // Plain code hands on the result that the operation before it has shown.
    if (index !== this.plainStep) step.result = resultText(result, step.operation);
  }

  onCall(task: Task, call: Call<unknown>): void {
    const { name } = call.callee;
    (this.callees[task.index] ??= []).push(name);
    this.note(task, {
      kind: 'call',
      function: name,
      args: argumentsText(call.args),
      at: this.callStacks.get(call) ?? null,
    });
  }

  onReturn(task: Task, value: unknown): void {
    this.lastAccess = null;
    const shown = returnedText(value);
    this.note(task, {
      kind: 'return',
      function: this.callees[task.index]?.pop() ?? task.name,
      value: shown?.text ?? null,
      isError: shown?.isError ?? false,
    });
  }

  onNote(task: Task, text: string): void {
    this.note(task, { kind: 'note', text });
  }

  onFinding(finding: Finding, task: Task): void {
    const isNaming = this.lastAccess !== null && this.lastAccess === this.namingAccess;
    const isAtOperation = isNaming || this.performing === task;
    const moment = this.presentMoment(task);
    if (finding.task !== null) this.note(task, { kind: 'finding', finding: this.findings.length });
    this.findings.push({ finding, moment, isAtOperation, access: this.lastAccess });
  }

  // ---- watch --------------------------------------------------------------------------------

  onPlainAccess(kernel: Kernel, object: KernelObject, key: string, item: Access): void {
    this.noteAccess(kernel.currentTask, accessNote(object, key, item));
  }

  onMarkedAccess(_kernel: Kernel, object: KernelObject, key: string, item: Access): void {
    this.lastAccess = accessNote(object, key, item);
  }

  onDeadAccess(kernel: Kernel, memory: Memory, use: Use): void {
    this.noteAccess(kernel.currentTask, { path: use.path, mode: NAME_OF_VERB[use.verb], memory });
  }

  onAllocate(kernel: Kernel, memory: Memory): void {
    this.state?.watchNew(memory);
    this.allocations.set(memory, this.presentMoment(kernel.currentTask));
  }

  onFree(kernel: Kernel, memory: Memory): void {
    this.frees.set(memory, this.presentMoment(kernel.currentTask));
  }

  onAssertion(kernel: Kernel, grade: AssertionGrade, condition: string): void {
    this.noteMishap(kernel, grade === 'lockdep' ? condition : `${grade}(${condition})`);
  }

  onBadPointer(kernel: Kernel, pointer: string, use: string): void {
    this.noteMishap(kernel, `${use} through ${pointer}`);
  }

  onMaySleep(kernel: Kernel, _task: Task, what: string): void {
    this.noteMishap(kernel, what);
  }

  // ---- notes --------------------------------------------------------------------------------

  momentOf(task: Task): Moment {
    return this.moment(task, null, this.lastMade.get(task) ?? null);
  }

  private note(task: Task, event: EventNote): void {
    const step = this.steps[task.lastStep];
    if (step !== undefined) step.events.push(event);
    else if (task.index >= 0) (this.entries[task.index] ??= []).push(event);
  }

  private noteMishap(kernel: Kernel, text: string): void {
    const task = kernel.currentTask;
    this.lastAccess = null;
    if (this.performing === task) return;
    const at = new CodeStack(this.lastMade.get(task) ?? null);
    this.note(task, { kind: 'mishap', text, at });
  }

  private noteAccess(task: Task, access: AccessNote): void {
    this.watchOld(access.memory);
    this.lastAccess = access;
    if (this.performing === task) return;
    const moment = this.presentMoment(task);
    const isNamed = this.namePlainStep(access, moment);
    if (!isNamed) this.note(task, { kind: 'access', ...access, moment });
    this.touches.push({ ...access, moment });
  }

  /** A step of plain code is called by the first thing in the slab that it touches. */
  private namePlainStep(access: AccessNote, moment: Moment): boolean {
    if (this.plainStep < 0 || access.memory.kind !== 'slab') return false;
    const step = this.steps[this.plainStep] as StepNote;
    step.operation = `${access.mode} ${access.path}`;
    step.moment = moment;
    this.namingAccess = access;
    this.plainStep = -1;
    return true;
  }

  /** Where `task` is: at its operation, or in the code after it. */
  private presentMoment(task: Task): Moment {
    const made = this.lastMade.get(task) ?? null;
    const at = this.performing === task ? made : new CodeStack(made);
    return this.moment(task, task.lastStep >= 0 ? task.lastStep : null, at);
  }

  /** @param at where the innermost function is. */
  private moment(task: Task, step: number | null, at: CodeStack | null): Moment {
    const { frames } = task;
    const notes = frames.map((frame, depth): FrameNote => {
      const inner = frames[depth + 1];
      if (inner === undefined) return { function: frame.callee.name, at };
      const call = inner.call === null ? undefined : this.callStacks.get(inner.call);
      return { function: frame.callee.name, at: call ?? null };
    });
    return { step, task, frames: notes };
  }
}

function heldText({ path, mode }: HeldLock): string {
  return mode === 'read' ? `${path} (read)` : path;
}

const NAME_OF_VERB = { read: 'read', written: 'write', used: 'use', run: 'use' } as const;

function accessNote(object: KernelObject, key: string, item: Access): AccessNote {
  return { path: fieldPath(object, key), mode: nameOfMode(modeOf(item)), memory: object.memory };
}

function nameOfMode(mode: number): AccessName {
  if (mode === READ) return 'read';
  return mode === WRITE ? 'write' : 'use';
}

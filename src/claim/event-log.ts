/**
 * What happened in an execution, as a claim may speak of it: for each task the operations, calls,
 * returns, accesses and findings, in the order of the task.
 *
 * Modelled: where each may move. An operation is a step; what comes between two operations of a task
 * is nobody else's business and may be thought at any moment between them. Accesses of visible memory
 * (see `visibleMemory` of the kernel) are pinned to their step, since others race for them. Simplified:
 * a call that is blocked for ever counts as having come to its operation.
 *
 * Equal events of all executions share a number, so that what is to be known of one is found out once.
 */
import { kernelName, type Call } from '../kernel/call.ts';
import type { Finding } from '../kernel/finding.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { KernelObject, Memory } from '../kernel/memory.ts';
import { modeOf, READ, WRITE, type Access, type Operation } from '../kernel/operation.ts';
import { PLAIN_CODE } from '../kernel/plain-code.ts';
import type { Task } from '../kernel/task.ts';
import type { Tracer, Use, Watch } from '../kernel/watch.ts';
import { CodeStack } from '../trace/code-place.ts';
import { resultText, returnedText, type ValueText } from '../trace/value-text.ts';

/**
 * `begin`: the first operation inside a call, or what is found there, or its return if there is neither. `enter`: the call as such,
 * which nobody else sees. `wait`: the operation at which a task waits for ever.
 */
export type EventKind = 'operation' | 'begin' | 'enter' | 'return' | 'access' | 'finding' | 'wait';

/** What equal events have in common. */
export interface EventSort {
  readonly id: number;
  readonly kind: EventKind;
  /** `mutex_lock`, `kfd_open`, `kfd_process.mm`, `use-after-free`. */
  readonly name: string;
  /** `mutex_lock(&kfd_process.mutex)`, `kfd_open()`, `read kfd_process.mm`. */
  readonly text: string;
  /** The name of its task. */
  readonly task: string;
  /** The kernel functions it is in, outermost first; a call is not in itself. */
  readonly stack: readonly string[];
  /** As the caller shows places; null where nobody asked for them, or none is known. */
  readonly place: string | null;
}

interface Stack {
  readonly task: string;
  readonly functions: readonly string[];
  readonly inner: Map<string, Stack>;
  /** The sorts in it by their text; one map for each kind. */
  readonly sorts: Readonly<Record<EventKind, Map<string, number>>>;
}

function stackOf(task: string, functions: readonly string[]): Stack {
  const sorts = {
    operation: new Map(),
    begin: new Map(),
    enter: new Map(),
    return: new Map(),
    access: new Map(),
    finding: new Map(),
    wait: new Map(),
  };
  return { task, functions, inner: new Map(), sorts };
}

/** The sorts of all events that any execution had. */
export class EventTable {
  readonly sorts: EventSort[] = [];
  private readonly roots = new Map<string, Stack>();

  rootOf(task: string): Stack {
    const known = this.roots.get(task);
    if (known !== undefined) return known;
    const root = stackOf(task, []);
    this.roots.set(task, root);
    return root;
  }

  innerOf(stack: Stack, name: string): Stack {
    const known = stack.inner.get(name);
    if (known !== undefined) return known;
    const inner = stackOf(stack.task, [...stack.functions, name]);
    stack.inner.set(name, inner);
    return inner;
  }

  /** @param text left out for what is done by name only. */
  idOf(stack: Stack, kind: EventKind, name: string, text: string | null, place: Place): number {
    const ids = stack.sorts[kind];
    const said = text ?? name;
    const key = place === null ? said : `${said} ${place}`;
    const known = ids.get(key);
    if (known !== undefined) return known;
    const id = this.sorts.length;
    const { task, functions } = stack;
    this.sorts.push({ id, kind, name, text: text ?? `${name}()`, task, stack: functions, place });
    ids.set(key, id);
    return id;
  }
}

type Place = string | null;

/** The events of one task, in its order. */
export class TaskEvents {
  readonly task: Task;
  readonly ids: number[] = [];
  /** For each the step that it is, or after which it comes; -1 for none. */
  readonly steps: number[] = [];
  /** For each whether it is just when the step is, or at any moment from then on to the next. */
  readonly isPinned: boolean[] = [];
  stack: Stack;
  readonly outer: Stack[] = [];
  /** Calls that have not come to an operation. */
  readonly pending: { readonly outer: Stack; readonly name: string; readonly at: string | null }[] =
    [];
  lastStep: number;

  constructor(task: Task, stack: Stack) {
    this.task = task;
    this.stack = stack;
    this.lastStep = task.spawnedAt;
  }

  push(id: number, step: number, isPinned: boolean): void {
    this.ids.push(id);
    this.steps.push(step);
    this.isPinned.push(isPinned);
  }
}

export interface LogOptions {
  /** Whether plain accesses are kept: there are many. */
  readonly hasAccesses: boolean;
  /** Turns a raw place into what people read; null if nobody asks for places, which are costly. */
  readonly resolvePlace: ((raw: string) => string | null) | null;
}

/** `mutex_lock(&a)` → `mutex_lock`; `syscall munmap(…)` → `munmap`; English as it is. */
export function nameOfOperation(description: string): string {
  const match = /^(?:syscall )?([\w.]+)(?=\(|$)/.exec(description);
  return match === null ? description : (match[1] as string);
}

export class EventLog implements Tracer, Watch {
  readonly table: EventTable;
  tasks: TaskEvents[] = [];
  /** What was found when all was over. */
  readonly endFindings: Finding[] = [];
  /** For each step its task, and up to where in the events of that task it reaches. */
  readonly taskOfStep: number[] = [];
  readonly reachOfStep: number[] = [];
  private readonly results: unknown[] = [];
  private readonly descriptions: string[] = [];
  private readonly options: LogOptions;
  private readonly fieldNames = new Map<string, string>();
  private readonly places = new Map<string, string | null>();
  /** Where each task made what it yielded last. */
  private readonly madePlaces = new WeakMap<Task, string | null>();
  /** The step of plain code that has not touched visible memory yet, or -1. */
  private plainStep = -1;

  constructor(table: EventTable, options: LogOptions) {
    this.table = table;
    this.options = options;
  }

  onStart(): void {
    this.tasks = [];
    this.endFindings.length = 0;
    this.taskOfStep.length = 0;
    this.reachOfStep.length = 0;
    this.results.length = 0;
    this.descriptions.length = 0;
    this.plainStep = -1;
  }

  onSpawn(_kernel: Kernel, task: Task): void {
    this.tasks[task.index] = new TaskEvents(task, this.table.rootOf(task.name));
  }

  onMade(task: Task): void {
    if (this.options.resolvePlace === null || task.index < 0) return;
    this.madePlaces.set(task, this.place(new CodeStack().place));
  }

  private place(raw: string | null): string | null {
    if (raw === null) return null;
    let shown = this.places.get(raw);
    if (shown === undefined) {
      shown = this.options.resolvePlace?.(raw) ?? null;
      this.places.set(raw, shown);
    }
    return shown;
  }

  private placeOf(task: Task): string | null {
    return this.options.resolvePlace === null ? null : (this.madePlaces.get(task) ?? null);
  }

  onStep(task: Task, operation: Operation<unknown>, description: string): void {
    const events = this.tasks[task.index] as TaskEvents;
    const step = task.lastStep;
    this.taskOfStep[step] = task.index;
    this.descriptions[step] = description;
    if (operation === PLAIN_CODE) {
      this.plainStep = step;
      this.reachOfStep[step] = events.ids.length - 1;
      return;
    }
    this.plainStep = -1;
    events.lastStep = step;
    this.begin(events, step, true);
    const name = nameOfOperation(description);
    const id = this.table.idOf(events.stack, 'operation', name, description, this.placeOf(task));
    events.push(id, step, true);
    this.reachOfStep[step] = events.ids.length - 1;
  }

  /** The calls that were waiting for their first operation have come to it. */
  private begin(events: TaskEvents, step: number, isPinned: boolean): void {
    for (const { outer, name, at } of events.pending) {
      events.push(this.table.idOf(outer, 'begin', name, null, at), step, isPinned);
    }
    events.pending.length = 0;
  }

  onResult(task: Task, result: unknown): void {
    if (task.index >= 0) this.results[task.lastStep] = result;
  }

  onCall(task: Task, call: Call<unknown>): void {
    const events = this.tasks[task.index];
    if (events === undefined) return;
    const { name } = call.callee;
    const at = this.placeOf(task);
    this.local(events, 'enter', name, null, at);
    events.pending.push({ outer: events.stack, name, at });
    events.outer.push(events.stack);
    events.stack = this.table.innerOf(events.stack, name);
  }

  onReturn(task: Task, value: unknown): void {
    const events = this.tasks[task.index];
    const outer = events?.outer.pop();
    if (events === undefined || outer === undefined) return;
    this.begin(events, events.lastStep, false);
    const name = events.stack.functions.at(-1) as string;
    const shown = returnedText(value)?.text;
    events.stack = outer;
    const text = shown === undefined ? `${name}() returns` : `${name}() returns ${shown}`;
    this.local(events, 'return', name, text, null);
  }

  onNote(): void {
    // Messages are nothing a claim speaks of.
  }

  onFinding(finding: Finding, task: Task): void {
    const events = this.tasks[task.index];
    if (finding.task === null || events === undefined) {
      this.endFindings.push(finding);
      return;
    }
    this.begin(events, events.lastStep, false);
    const text = `${finding.kind} of ${finding.object}`;
    this.local(events, 'finding', finding.kind, text, null);
  }

  // ---- accesses -------------------------------------------------------------------------------

  onPlainAccess(kernel: Kernel, object: KernelObject, key: string, item: Access): void {
    const events = this.tasks[kernel.currentTask.index];
    if (events === undefined) return;
    const isVisible = kernel.visibleMemory?.has(object.memory.name) === true;
    if (!isVisible && !this.options.hasAccesses) return;
    this.access(kernel, events, isVisible, () => {
      const mode = modeOf(item);
      const verb = mode === READ ? 'read' : mode === WRITE ? 'write' : 'use';
      return [verb, `${object.path}.${this.fieldName(key)}`];
    });
  }

  private fieldName(key: string): string {
    let name = this.fieldNames.get(key);
    if (name === undefined) {
      name = kernelName(key);
      this.fieldNames.set(key, name);
    }
    return name;
  }

  onDeadAccess(kernel: Kernel, memory: Memory, use: Use): void {
    const events = this.tasks[kernel.currentTask.index];
    // What is run is an operation, which was noted.
    if (events === undefined || use.verb === 'run') return;
    const isVisible = kernel.visibleMemory?.has(memory.name) === true;
    const verb = use.verb === 'written' ? 'write' : use.verb === 'used' ? 'use' : 'read';
    this.access(kernel, events, isVisible, () => [verb, use.path]);
  }

  private access(
    kernel: Kernel,
    events: TaskEvents,
    isVisible: boolean,
    describe: () => readonly [string, string],
  ): void {
    // Not its own doing: somebody asks what its next step would touch, as often as it takes.
    if (!kernel.isStepping && events.task.hasStarted) return;
    const step = this.plainStep;
    const isPinned = isVisible && step >= 0 && kernel.currentTask.lastStep === step;
    if (isPinned) events.lastStep = step;
    if (this.options.hasAccesses) {
      const [verb, path] = describe();
      const place = this.options.resolvePlace === null ? null : this.place(new CodeStack().place);
      const id = this.table.idOf(events.stack, 'access', path, `${verb} ${path}`, place);
      events.push(id, events.lastStep, isPinned);
    }
    if (isPinned) this.reachOfStep[step] = events.ids.length - 1;
  }

  private local(
    events: TaskEvents,
    kind: EventKind,
    name: string,
    text: string | null,
    place: Place,
  ): void {
    const id = this.table.idOf(events.stack, kind, name, text, place);
    events.push(id, events.lastStep, false);
  }

  // ---- when it is over ------------------------------------------------------------------------

  /** Notes where those are who wait for ever. Call when the execution has ended. */
  close(kernel: Kernel): void {
    for (const task of kernel.tasks) {
      const events = this.tasks[task.index];
      const { pending } = task;
      if (events === undefined || pending === null || pending === PLAIN_CODE) continue;
      this.begin(events, events.lastStep, false);
      const text = pending.describe(task);
      this.local(events, 'wait', nameOfOperation(text), text, this.placeOf(task));
    }
  }

  /** What the operation of a step returned. */
  resultOf(step: number): ValueText | null {
    return resultText(this.results[step], this.descriptions[step] ?? '');
  }

  descriptionOf(step: number): string {
    return this.descriptions[step] ?? '';
  }
}

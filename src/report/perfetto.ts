/**
 * Trace events, as Perfetto, chrome://tracing and speedscope open them: a process for each execution, a
 * thread for each task, calls and operations as slices, locks as spans, counters of what has numbers.
 *
 * The clock is the step: a step takes {@link STEP} microseconds and nothing else takes any, so widths say
 * nothing about time. A call begins just before the next step of its task, as in the pictures.
 */
import type { RecordedEvent, RecordedStep, RecordedTask, Recording } from '../trace/recording.ts';
import { executionsOf } from './executions.ts';
import type { Reporter, ShownExecution } from './reporter.ts';
import { taskTitle, titleOf } from './titles.ts';

/** Microseconds from step to step, and how many of them the operation is drawn. */
const STEP = 10;
const OPERATION = 8;

/** Between events that have the same time: a nanosecond, the least that Perfetto can tell apart. */
const TICK = 0.001;

type Phase = 'M' | 'X' | 'i' | 'b' | 'e' | 'C';

interface TraceEvent {
  readonly ph: Phase;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: string;
  readonly s?: 't' | 'p';
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A call that has not returned. */
interface OpenCall {
  readonly name: string;
  readonly start: number;
  readonly args: Readonly<Record<string, unknown>>;
}

/** To nanoseconds: sums of decimal fractions are a little off. */
function rounded(microseconds: number): number {
  return Number(microseconds.toFixed(3));
}

/** The slices of one task. No two begin or end at the same time, so that all readers nest them alike. */
class Track {
  private readonly recording: Recording;
  private readonly pid: number;
  private readonly tid: number;
  private readonly events: TraceEvent[] = [];
  /** Outermost first. */
  private readonly open: OpenCall[] = [];
  /** The time of the last event. */
  private now = -TICK;

  constructor(recording: Recording, pid: number, task: RecordedTask) {
    this.recording = recording;
    this.pid = pid;
    this.tid = task.index + 1;
    const steps = recording.steps.filter((step) => step.task === task.index);
    this.follow(task.events, (task.spawnedAt ?? -1) * STEP + STEP - 1, steps[0]);
    for (const [at, step] of steps.entries()) this.step(step, steps[at + 1]);
    while (this.open.length > 0) this.close(recording.steps.length * STEP, {});
    this.events.sort((a, b) => a.ts - b.ts);
  }

  get all(): readonly TraceEvent[] {
    return this.events;
  }

  /** The first time from `ts` on at which nothing has happened. */
  private next(ts: number): number {
    this.now = Math.max(ts, rounded(this.now + TICK));
    return this.now;
  }

  private slice({ name, start, args }: OpenCall, cat: string, end: number): void {
    const { pid, tid } = this;
    const dur = rounded(this.next(end) - start);
    this.events.push({ ph: 'X', name, pid, tid, ts: start, dur, cat, args });
  }

  private instant(name: string, at: number, more: Partial<TraceEvent>): void {
    const { pid, tid } = this;
    this.events.push({ ph: 'i', name, pid, tid, ts: this.next(at), cat: 'kernel', ...more });
  }

  /** Ends the innermost call. */
  private close(at: number, returned: Readonly<Record<string, unknown>>): void {
    const call = this.open.pop();
    if (call === undefined) return;
    this.slice({ ...call, args: { ...call.args, ...returned } }, 'call', at);
  }

  private step(step: RecordedStep, next: RecordedStep | undefined): void {
    const start = this.next(step.index * STEP);
    const { operation, result, place } = step;
    const args = {
      step: step.index + 1,
      ...(result === null ? {} : { result }),
      ...(place === null ? {} : { place }),
    };
    this.slice({ name: operation, start, args }, 'operation', start + OPERATION);
    this.follow(step.events, start + OPERATION + 1, next);
  }

  /** What comes after an operation: calls lead to the next one. */
  private follow(
    events: readonly RecordedEvent[],
    at: number,
    next: RecordedStep | undefined,
  ): void {
    const before = next === undefined ? at : Math.max(at, next.index * STEP - 1);
    for (const event of events) this.event(event, at, before);
  }

  private event(event: RecordedEvent, at: number, before: number): void {
    switch (event.kind) {
      case 'call': {
        const args = event.args === '' ? {} : { arguments: event.args };
        this.open.push({ name: event.function, start: this.next(before), args });
        return;
      }
      case 'return':
        this.close(at, event.value === null ? {} : { returns: event.value });
        return;
      case 'finding': {
        const finding = this.recording.findings[event.finding];
        if (finding === undefined) return;
        const args = { message: finding.message };
        this.instant(titleOf(finding), at, { cat: 'finding', s: 'p', args });
        return;
      }
      case 'note':
      case 'mishap':
        this.instant(event.text, at, { s: 't' });
        return;
      case 'access':
        this.instant(`${event.mode} ${event.path}`, at, { s: 't' });
    }
  }
}

/** Spans of the locks that each task holds. They may overlap, so they are no slices of the thread. */
function lockSpans({ steps }: Recording, pid: number): TraceEvent[] {
  const events: TraceEvent[] = [];
  const held = new Map<number, Set<string>>();
  for (const { task, after, index } of steps) {
    const before = held.get(task) ?? new Set();
    const now = new Set(after?.held);
    const event = (ph: 'b' | 'e', name: string): void => {
      const ts = index * STEP + (ph === 'b' ? 0 : OPERATION);
      events.push({ ph, name, pid, tid: task + 1, ts, cat: 'lock', id: `${pid}.${task}.${name}` });
    };
    for (const lock of before) if (!now.has(lock)) event('e', lock);
    for (const lock of now) if (!before.has(lock)) event('b', lock);
    held.set(task, now);
  }
  for (const [task, locks] of held) {
    for (const name of locks) {
      const ts = steps.length * STEP;
      const id = `${pid}.${task}.${name}`;
      events.push({ ph: 'e', name, pid, tid: task + 1, ts, cat: 'lock', id });
    }
  }
  return events;
}

/** Values that are numbers and change: counters, flags, sequences. */
function counters({ initial = [], steps }: Recording, pid: number): TraceEvent[] {
  const changed = new Set(
    steps.flatMap((step) => step.after?.changes.map((one) => one.path) ?? []),
  );
  const event = (path: string, value: string, ts: number): TraceEvent[] => {
    if (!changed.has(path) || !/^-?\d+$/.test(value)) return [];
    return [{ ph: 'C', name: path, pid, tid: 0, ts, args: { value: Number(value) } }];
  };
  return [
    ...initial.flatMap(({ path, value }) => event(path, value, 0)),
    ...steps.flatMap(
      ({ index, after }) =>
        after?.changes.flatMap(({ path, value }) => event(path, value, index * STEP)) ?? [],
    ),
  ];
}

function eventsOf({ recording, title }: ShownExecution, at: number): TraceEvent[] {
  const pid = at + 1;
  const named = (tid: number, what: string, name: string): TraceEvent => ({
    ph: 'M',
    name: what,
    pid,
    tid,
    ts: 0,
    args: { name },
  });
  return [
    named(0, 'process_name', title),
    ...recording.tasks.flatMap((task) => {
      const track = new Track(recording, pid, task).all;
      return track.length === 0
        ? []
        : [named(task.index + 1, 'thread_name', taskTitle(task)), ...track];
    }),
    ...lockSpans(recording, pid),
    ...counters(recording, pid),
  ];
}

export const perfetto: Reporter = {
  name: 'perfetto',
  about:
    'trace events of the executions that are shown, for Perfetto, chrome://tracing, speedscope',
  write(input) {
    const executions = executionsOf(input);
    if (executions.length === 0) return [];
    const events = executions.flatMap((shown, at) => eventsOf(shown, at));
    const lines = events.map((event) => JSON.stringify(event)).join(',\n');
    const tokens = executions.map(({ token }) => token);
    const other = JSON.stringify({ producer: `mmulab ${input.version}`, replay: tokens });
    return [`{"displayTimeUnit":"ms","otherData":${other},"traceEvents":[\n${lines}\n]}\n`];
  },
};

/**
 * ITF, the trace format of Apalache and Quint (their ADR 15): an execution as a list of states.
 *
 * A state is what is there after a step: who took it and how it turned out, what each task holds, and the
 * fields of all memory that the execution touched, as texts. State 0 is what set-up leaves.
 */
import type { RecordedStep } from '../trace/recording.ts';
import { executionsOf } from './executions.ts';
import type { Reporter, ShownExecution } from './reporter.ts';
import { titleOf } from './titles.ts';

const DESCRIPTION = 'https://apalache-mc.org/docs/adr/015adr-trace.html';

/** The variables, and their types as Apalache writes them. */
const VARIABLES = {
  step: 'Int',
  task: 'Str',
  function: 'Str',
  operation: 'Str',
  result: 'Str',
  place: 'Str',
  held: 'Str -> Set(Str)',
  memory: 'Str -> Str',
  findings: 'Set(Str)',
} as const;

type Value = string | object;

function integer(value: number): Value {
  return { '#bigint': String(value) };
}

function set(values: Iterable<Value>): Value {
  return { '#set': [...values] };
}

function map(entries: Iterable<readonly [string, Value]>): Value {
  return { '#map': Array.from(entries, ([key, value]) => [key, value]) };
}

/** What has come about so far. */
class State {
  private readonly memory = new Map<string, string>();
  private readonly held = new Map<string, readonly string[]>();
  private readonly findings = new Set<string>();
  private readonly shown: ShownExecution;

  constructor(shown: ShownExecution) {
    this.shown = shown;
    for (const { path, value } of shown.recording.initial ?? []) this.memory.set(path, value);
    for (const task of shown.recording.tasks) {
      if (task.spawnedAt === null) this.held.set(task.name, []);
    }
  }

  /** The state after `step`, or, if it is null, before the first. */
  after(step: RecordedStep | null): object {
    if (step !== null) this.take(step);
    return {
      '#meta': { index: step === null ? 0 : step.index + 1 },
      step: integer(step === null ? 0 : step.index + 1),
      task: step?.taskName ?? '',
      function: step?.function ?? '',
      operation: step?.operation ?? '',
      result: step?.result ?? '',
      place: step?.place ?? '',
      held: map(Array.from(this.held, ([task, locks]) => [task, set(new Set(locks))])),
      memory: map(this.memory),
      findings: set(this.findings),
    };
  }

  private take({ taskName, after, events, index }: RecordedStep): void {
    const { findings } = this.shown.recording;
    for (const { path, value } of after?.changes ?? []) this.memory.set(path, value);
    if (after !== undefined) this.held.set(taskName, after.held);
    for (const event of events) {
      const finding = event.kind === 'finding' ? findings[event.finding] : undefined;
      if (finding !== undefined) this.findings.add(titleOf(finding));
    }
    if (index < this.shown.recording.steps.length - 1) return;
    // What is only seen at the end: deadlocks, leaks.
    for (const finding of findings) this.findings.add(titleOf(finding));
  }
}

function traceOf(shown: ShownExecution): string {
  const state = new State(shown);
  const { recording, title, token } = shown;
  const document = {
    '#meta': {
      format: 'ITF',
      'format-description': DESCRIPTION,
      description: `${title}. Replay: npx mmulab replay ${token}`,
      varTypes: VARIABLES,
    },
    params: [],
    vars: Object.keys(VARIABLES),
    states: [state.after(null), ...recording.steps.map((step) => state.after(step))],
  };
  return `${JSON.stringify(document, null, 1)}\n`;
}

export const itf: Reporter = {
  name: 'itf',
  about: 'the states of each execution that is shown, in the trace format of Apalache and Quint',
  isPerExecution: true,
  write: (input) => executionsOf(input).map((shown) => traceOf(shown)),
};

/**
 * What goes with a picture: the finding in words, with the stacks of those who took part, in the order
 * in which the kernel's own sanitizers and lockdep tell it.
 */
import type {
  RecordedFinding,
  RecordedFrame,
  RecordedLocking,
  RecordedMemory,
  RecordedOrigin,
  RecordedStep,
  RecordedTouch,
  RecordedWait,
  Recording,
} from '../trace/recording.ts';
import { PLAIN, type Style } from './style.ts';
import { stepTitle, taskTitle, titleOf } from './titles.ts';
import { wrap } from './wrap.ts';

export interface StoryOptions {
  readonly width: number;
  readonly style?: Style;
}

/** Lines that tell `finding`, one of the recording's. */
export function story(
  recording: Recording,
  finding: RecordedFinding,
  options: StoryOptions,
): string[] {
  return new Teller(recording, finding, options).tell();
}

class Teller {
  private readonly recording: Recording;
  private readonly finding: RecordedFinding;
  private readonly width: number;
  private readonly style: Style;

  constructor(recording: Recording, finding: RecordedFinding, options: StoryOptions) {
    this.recording = recording;
    this.finding = finding;
    this.width = options.width;
    this.style = options.style ?? PLAIN;
  }

  tell(): string[] {
    const { finding, style } = this;
    const heading = [
      style.bold(style.red(this.headline())),
      ...wrap(finding.message, this.width, 2),
      ...(finding.explanation === undefined ? [] : wrap(finding.explanation, this.width, 2)),
    ];
    const blocks = [
      heading,
      ...(finding.locking === null ? this.scene() : this.locking(finding.locking)),
      ...(finding.memory === null ? [] : this.lifeOf(finding.memory)),
      ...(finding.locking === null ? this.witnesses() : []),
      ...(finding.kind === 'deadlock' ? this.recording.waiting.map((wait) => this.wait(wait)) : []),
    ];
    const lines = blocks.flatMap((block) => ['', block].flat());
    return lines.slice(1);
  }

  private headline(): string {
    const { invariant, memory, locking } = this.finding;
    if (locking !== null) return `WARNING: ${locking.headline}`;
    const breach = invariant === null ? '' : ` (breaks ${invariant})`;
    const what =
      memory === null || memory.kind !== 'slab'
        ? ''
        : ` (${memory.size} bytes at ${memory.address})`;
    return `BUG: ${titleOf(this.finding)}${what}${breach}`;
  }

  /** Where it went wrong; nothing for a finding about the execution as a whole. */
  private scene(): string[][] {
    const { finding } = this;
    if (finding.task === null) return [];
    return [this.block(`${this.deed()} by ${this.who(finding)}:`, finding.stack)];
  }

  private deed(): string {
    const { finding, recording } = this;
    const { access } = finding;
    if (access !== null && access.mode !== 'use') {
      return `${access.mode === 'read' ? 'Read' : 'Write'} of ${access.path}`;
    }
    const operation = finding.isAtOperation ? recording.steps[finding.step ?? -1]?.operation : null;
    return operation ?? 'Found';
  }

  private lifeOf(memory: RecordedMemory): string[][] {
    const blocks: string[][] = [];
    const { allocated, freed } = memory;
    if (allocated !== null) {
      blocks.push(this.block(`Allocated by ${this.who(allocated)}:`, allocated.stack));
    }
    if (freed === null) return blocks;
    const uses = memory.touched.filter((touch) => this.isTellingUse(touch, freed));
    blocks.push(this.block(`Freed by ${this.who(freed)}:`, freed.stack));
    if (uses.length > 0) blocks.push(uses.map((touch) => this.use(touch)));
    return blocks;
  }

  /** The last use before the free by somebody else than who freed it. */
  private isTellingUse(touch: RecordedTouch, freed: RecordedOrigin): boolean {
    return touch.task !== freed.task && touch.step !== null && touch.step < (freed.step ?? 0);
  }

  private use(touch: RecordedTouch): string {
    const deed = touch.mode === 'use' ? touch.path : `${touch.mode} ${touch.path}`;
    const place = touch.place === null ? '' : `, ${this.style.dim(touch.place)}`;
    return `Last used before that by ${this.who(touch)}: ${deed}${place}`;
  }

  /** Steps that bear witness and have not been told of. */
  private witnesses(): string[][] {
    const { finding, recording } = this;
    const { allocated, freed } = finding.memory ?? { allocated: null, freed: null };
    // The code after an operation is another place than the operation.
    const own = finding.isAtOperation ? finding.step : null;
    const told = new Set([own, allocated?.step, freed?.step]);
    const blocks = finding.witnesses
      .filter((step) => !told.has(step))
      .map((at) => recording.steps[at])
      .filter((step) => step !== undefined)
      .map((step) => this.block(`${step.operation} by ${this.whoOf(step)}:`, step.stack));
    return finding.kind === 'data-race' ? [...blocks, ...this.rivals()] : blocks;
  }

  /** The last access of the same field by each other task: one of them is the other side of a race. */
  private rivals(): string[][] {
    const { finding, recording } = this;
    const blocks: string[][] = [];
    for (const task of recording.tasks) {
      if (task.index === finding.task) continue;
      const steps = recording.steps.filter((step) => step.task === task.index);
      const moments = [{ index: null, events: task.events }, ...steps];
      const uses = moments.flatMap(({ index, events }) =>
        events.flatMap((event) =>
          event.kind === 'access' && event.path === finding.access?.path ? [{ index, event }] : [],
        ),
      );
      const last = uses.at(-1);
      if (last === undefined) continue;
      const deed = `${last.event.mode === 'write' ? 'Write' : 'Read'} of ${last.event.path}`;
      const who = `${taskTitle(task)}, ${stepTitle(last.index)}`;
      blocks.push(this.block(`${deed} by ${who}:`, last.event.stack));
    }
    return blocks;
  }

  /** As the kernel's lockdep says it: the table, then who does what. */
  private locking(locking: RecordedLocking): string[][] {
    const { chain, stacks } = locking;
    const isCycle = this.finding.kind === 'lock-order';
    const way = isCycle ? [...chain, chain[0]] : chain;
    return [
      ...(chain.length > 2 ? [['Chain exists of:', `  ${way.join(' --> ')}`]] : []),
      scenarioTable(locking.scenario),
      ...stacks.map((item) => {
        const where =
          item.task === null
            ? `${item.taskName}${item.taskName === 'setup' ? '' : ', in another execution'}`
            : `${this.titleOfTask(item.task)}, ${stepTitle(item.step)}`;
        return this.block(`${item.title}, by ${where}:`, item.stack);
      }),
    ];
  }

  private wait(wait: RecordedWait): string[] {
    const who = taskTitle({ name: wait.taskName, cpu: wait.cpu });
    const others = wait.waitsFor.map((task) => this.titleOfTask(task));
    const reason = others.length === 0 ? '' : `, held by ${others.join(' and ')}`;
    const lines = this.block(`${who} waits at ${wait.operation}${reason}:`, wait.stack);
    const holds = wait.holds.map(({ lock, step, place }) => {
      const where = place === null ? '' : `, ${this.style.dim(place)}`;
      return `  holds ${lock} since ${stepTitle(step)}${where}`;
    });
    return [...lines, ...holds];
  }

  // ---- parts --------------------------------------------------------------------------------

  private who(origin: RecordedOrigin): string {
    if (origin.task === null) return origin.taskName;
    return `${this.titleOfTask(origin.task)}, ${stepTitle(origin.step)}`;
  }

  private whoOf(step: RecordedStep): string {
    return `${taskTitle({ name: step.taskName, cpu: step.cpu })}, ${stepTitle(step.index)}`;
  }

  private titleOfTask(index: number): string {
    const task = this.recording.tasks[index];
    return task === undefined ? `task ${index}` : taskTitle(task);
  }

  /** A stack as the kernel prints it: innermost first, with places in a column. */
  private block(title: string, stack: readonly RecordedFrame[]): string[] {
    const frames = withoutHalves(stack).toReversed();
    const widest = Math.max(0, ...frames.map((frame) => frame.function.length));
    const lines = frames.map((frame) => {
      const place = frame.place === null ? '' : `  ${this.style.dim(frame.place)}`;
      return `  ${frame.function.padEnd(place === '' ? 0 : widest)}${place}`;
    });
    return [...wrap(title, this.width, 2), ...lines];
  }
}

/** Letters to the left of the first CPU, of what it does, and between CPUs: as lockdep has it. */
const SCENARIO_MARGIN = 7;
const SCENARIO_INDENT = 2;
const SCENARIO_COLUMN = 24;

/** The table of CPUs that kernel developers know from lockdep. */
function scenarioTable(rows: RecordedLocking['scenario']): string[] {
  const count = Math.max(...rows.map((row) => row.cpu)) + 1;
  const widest = Math.max(...rows.map((row) => row.text.length));
  const width = Math.max(SCENARIO_COLUMN, widest + 2);
  const columns = Array.from({ length: count }, (_, cpu) => SCENARIO_MARGIN + cpu * width);
  const header = (text: (cpu: number) => string): string =>
    columns.reduce((line, start, cpu) => line.padEnd(start) + text(cpu), '');
  return [
    'Possible unsafe locking scenario:',
    '',
    header((cpu) => `CPU${cpu}`),
    header(() => '----'),
    ...rows.map(({ cpu, text }) => {
      const start = cpu === 0 ? SCENARIO_INDENT : (columns[cpu] as number);
      return ' '.repeat(start) + text;
    }),
    '',
    ' *** DEADLOCK ***',
  ];
}

/** Of a function that calls one of the same name, its other half, only the inner one. */
function withoutHalves(stack: readonly RecordedFrame[]): RecordedFrame[] {
  return stack.filter((frame, at) => frame.function !== stack[at + 1]?.function);
}

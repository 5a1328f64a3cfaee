/** Choices of the environment, goals, and messages. */
import { made, Operation } from './operation.ts';
import { running } from './running.ts';

class Choose extends Operation<number> {
  readonly count: number;
  readonly what: string;

  constructor(count: number, what: string) {
    super(null);
    this.count = count;
    this.what = what;
  }

  override footprint(): void {
    // A choice is the task's own affair: it touches nothing.
  }

  override arity(): number {
    return this.count;
  }

  perform(_task: unknown, outcome: number): number {
    return outcome;
  }

  describe(): string {
    return this.what;
  }
}

const choices = new Map<string, Choose>();

/**
 * A value from 0 to `count` - 1; every one is explored. `what` is what pictures call it:
 * `choose(2, 'does the hardware answer?')`.
 */
export function choose(count: number, what = `choose(${count})`): Operation<number> {
  if (!Number.isInteger(count) || count < 1 || count > 1024) {
    running.misuse(`choose(${count}): the number of values must be an integer from 1 to 1024`);
  }
  const key = `${count} ${what}`;
  let operation = choices.get(key);
  if (operation === undefined) {
    operation = new Choose(count, what);
    choices.set(key, operation);
  }
  return made(operation);
}

/** Marks that this execution reached `name`, one of the scenario's goals. */
export function goal(name: string): void {
  running.goals.add(name);
}

/** `pr_info(text)`: a line in the event log. */
export function prInfo(text: string): void {
  running.log.push(text);
  running.tracer?.onNote(running.currentTask, `pr_info: ${text}`);
}

/**
 * Guards against scenarios that keep state between executions. Exploration rests on equal schedules
 * taking equal courses; the first execution is therefore recorded before the search, twice, and once
 * more after it, when whatever counts executions has counted them.
 */
import { allDetectors } from '../check/detector/index.ts';
import type { Program } from '../check/program.ts';
import { UsageError } from '../base/usage-error.ts';
import { record } from '../trace/record.ts';
import type { Recording, RecordedStep } from '../trace/recording.ts';
import { resolvePlace } from './place.ts';

export class Guard {
  private readonly program: Program;
  private first: Recording | null = null;

  constructor(program: Program) {
    this.program = program;
  }

  /** Call before the search. What is wrong with the scenario otherwise is left to the search. */
  before(): void {
    try {
      this.first = this.recordFirst();
    } catch {
      return;
    }
    this.compare();
  }

  /**
   * Call after the search.
   *
   * @throws UsageError MN204
   */
  compare(): void {
    if (this.first === null) return;
    const again = this.recordFirst();
    if (JSON.stringify(again) !== JSON.stringify(this.first)) throw difference(this.first, again);
  }

  private recordFirst(): Recording {
    return record(this.program, { tasks: [], outcomes: [] }, allDetectors(), { resolvePlace });
  }
}

function difference(first: Recording, again: Recording): UsageError {
  const count = Math.max(first.steps.length, again.steps.length);
  for (let at = 0; at < count; at += 1) {
    const before = first.steps[at];
    const after = again.steps[at];
    if (JSON.stringify(before) === JSON.stringify(after)) continue;
    const what =
      before?.operation === after?.operation
        ? eventsDiffer(before)
        : operationsDiffer(before, after);
    return stateKept(`at step ${at + 1} ${what}`, (after ?? before)?.place ?? null);
  }
  return stateKept('set-up or what follows the last step differed', null);
}

function operationsDiffer(
  before: RecordedStep | undefined,
  after: RecordedStep | undefined,
): string {
  return `${deed(before)} the first time, ${deed(after)} another time`;
}

function deed(step: RecordedStep | undefined): string {
  return step === undefined ? 'nothing happened' : `'${step.taskName}' did ${step.operation}`;
}

function eventsDiffer(step: RecordedStep | undefined): string {
  return `${deed(step)}, with other effects another time`;
}

function stateKept(what: string, place: string | null): UsageError {
  return new UsageError(
    'MN204',
    `the same schedule took another course: ${what}. Something keeps state between executions: a ` +
      'variable of the module that set-up does not make anew, the clock, or a random number.',
    place,
  );
}

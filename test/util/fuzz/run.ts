/** A fuzz run: many random programs, one after the other, until one fails. */
import { enumerate, explore, faultOf, type ExplorerClass } from './compare.ts';
import { generateProgram, type Family } from './generate.ts';
import { showProgram, type FuzzProgram } from './program.ts';
import { shrink } from './shrink.ts';

/** Programs with more interleavings than this are discarded, if nothing else is said. */
const INTERLEAVING_COUNT_MAX = 2000;

export interface FuzzOptions {
  /** Names the first program; the others have the numbers that follow. */
  readonly seed: number;
  /** Programs to be compared, discarded ones not counted. */
  readonly count: number;
  /** Each explores every program. */
  readonly explorers: readonly ExplorerClass[];
  readonly family?: Family;
  /** Programs with more interleavings are discarded. */
  readonly sizeMax?: number;
}

export interface FuzzReport {
  readonly programs: number;
  readonly discarded: number;
  /** Programs of three tasks and more. */
  readonly withThreeTasks: number;
  /** Programs in which a task has to wait somewhere. */
  readonly withWaiting: number;
  /** Programs in which a task may wait for ever. */
  readonly withDeadlock: number;
  /** Programs of whose steps it was always known what they would touch, as far as that was watched. */
  readonly foreseen: number;
  readonly interleavings: number;
  readonly traces: number;
  /** For each explorer. */
  readonly executions: readonly number[];
  readonly blocked: readonly number[];
  readonly failure: Failure | null;
}

export interface Failure {
  /** Names the program: a run of one program with this seed repeats it. */
  readonly seed: number;
  readonly program: FuzzProgram;
  readonly fault: string;
  /** The explorer that fails. */
  readonly explorer: string;
  readonly smallest: FuzzProgram;
  readonly smallestFault: string;
}

export function fuzz(options: FuzzOptions): FuzzReport {
  const { seed, count, explorers, family, sizeMax = INTERLEAVING_COUNT_MAX } = options;
  const report = {
    programs: 0,
    discarded: 0,
    withThreeTasks: 0,
    withWaiting: 0,
    withDeadlock: 0,
    foreseen: 0,
    interleavings: 0,
    traces: 0,
    executions: explorers.map(() => 0),
    blocked: explorers.map(() => 0),
  };
  for (let at = 0; report.programs < count; at += 1) {
    const program = generateProgram(seed + at, family);
    const all = enumerate(program, sizeMax);
    if (all === null) {
      report.discarded += 1;
      continue;
    }
    report.programs += 1;
    if (program.tasks.length >= 3) report.withThreeTasks += 1;
    if (all.hasWaiting) report.withWaiting += 1;
    if (all.deadlocks > 0) report.withDeadlock += 1;
    report.interleavings += all.interleavings;
    report.traces += all.traces.size;
    for (const [index, Explorer] of explorers.entries()) {
      const found = explore(program, all, Explorer);
      report.executions[index] = (report.executions[index] as number) + found.executions;
      report.blocked[index] = (report.blocked[index] as number) + found.blocked;
      if (found.fault !== null) {
        const where = { seed: seed + at, Explorer };
        return { ...report, failure: analyse(program, found.fault, where) };
      }
      if (found.isForeseen) report.foreseen += 1;
    }
  }
  return { ...report, failure: null };
}

/** Its first words: a smaller program is to fail in the same way. */
function kindOfFault(fault: string): string {
  return fault.replace(/[\d:].*/su, '');
}

function analyse(
  program: FuzzProgram,
  fault: string,
  { seed, Explorer }: { readonly seed: number; readonly Explorer: ExplorerClass },
): Failure {
  const check = (candidate: FuzzProgram): string | null =>
    faultOf(candidate, Explorer, INTERLEAVING_COUNT_MAX);
  const kind = kindOfFault(fault);
  const smallest = shrink(program, (candidate) => kindOfFault(check(candidate) ?? '') === kind);
  const explorer = Explorer.name;
  return { seed, program, fault, explorer, smallest, smallestFault: check(smallest) ?? fault };
}

/** A failure as it is printed, with the line that repeats it with the tests of `file`. */
export function showFailure(failure: Failure, file: string): string {
  return [
    `${failure.explorer}: ${failure.smallestFault}`,
    'The smallest program that fails:',
    showProgram(failure.smallest),
    `It was made of this one, where: ${failure.fault}`,
    showProgram(failure.program),
    'To repeat it:',
    `MMULAB_FUZZ_SEED=${failure.seed} MMULAB_FUZZ_COUNT=1 npx vitest run ${file}`,
  ].join('\n');
}

export function showReport(report: FuzzReport): string {
  const share = (part: number): string => `${Math.round((100 * part) / report.programs)} %`;
  return [
    `${report.programs} programs compared, ${report.discarded} discarded as too large`,
    `three tasks or more in ${share(report.withThreeTasks)}, waiting in ` +
      `${share(report.withWaiting)}, waiting for ever in ${share(report.withDeadlock)}`,
    `${report.interleavings} interleavings, ${report.traces} traces, ` +
      `${report.executions.join(' and ')} executions, ${report.blocked.join(' and ')} abandoned, ` +
      `none of them in ${report.foreseen} programs of which all is known`,
  ].join('\n');
}

/** Makes a failing fuzz program smaller for as long as it fails. */
import { startedTasks, type Do, type FuzzProgram, type Statement } from './program.ts';

/** Every list of statements that is one simplification away. */
function* simplerBlocks(statements: readonly Statement[]): Generator<readonly Statement[]> {
  for (const [at, statement] of statements.entries()) {
    const replaceBy = (instead: readonly Statement[]): Statement[] => [
      ...statements.slice(0, at),
      ...instead,
      ...statements.slice(at + 1),
    ];
    yield replaceBy([]);
    if ((statement.kind === 'do' || statement.kind === 'store') && statement.argument > 0) {
      yield replaceBy([{ ...statement, argument: 0 }]);
    }
    if (statement.kind === 'retry') {
      yield replaceBy(statement.inside);
      for (const simpler of simplerBlocks(statement.inside)) {
        if (simpler.length > 0)
          yield replaceBy([{ ...statement, inside: simpler as readonly Do[] }]);
      }
    }
    if (statement.kind !== 'if') continue;
    yield replaceBy(statement.inside);
    yield replaceBy(statement.otherwise);
    for (const inside of simplerBlocks(statement.inside))
      yield replaceBy([{ ...statement, inside }]);
    for (const otherwise of simplerBlocks(statement.otherwise)) {
      yield replaceBy([{ ...statement, otherwise }]);
    }
  }
}

function* simplerPrograms(program: FuzzProgram): Generator<FuzzProgram> {
  const { tasks } = program;
  // Tasks that are started are known by their numbers.
  const isNumbered = startedTasks(tasks.flat()).length > 0;
  for (const at of tasks.keys()) {
    if (tasks.length > 2 && !isNumbered) {
      const cpus = program.cpus.toSpliced(at, 1);
      yield {
        ...program,
        tasks: tasks.toSpliced(at, 1),
        cpus,
        handlers: without(program.handlers, at),
      };
    }
    if ((program.handlers & (1 << at)) !== 0) {
      yield { ...program, handlers: program.handlers & ~(1 << at) };
    }
    if (program.cpus[at] !== null) yield { ...program, cpus: program.cpus.with(at, null) };
    if ((tasks[at] ?? []).length > 0) yield { ...program, tasks: tasks.with(at, []) };
  }
  for (const [at, statements] of tasks.entries()) {
    for (const simpler of simplerBlocks(statements)) {
      yield { ...program, tasks: tasks.with(at, simpler) };
    }
  }
}

/** The mask without bit `at`, those above it moved down. */
function without(mask: number, at: number): number {
  const low = mask & ((1 << at) - 1);
  return low | ((mask >>> (at + 1)) << at);
}

/** A smaller program for which `fails` still holds; it holds for `program`. */
export function shrink(
  program: FuzzProgram,
  fails: (candidate: FuzzProgram) => boolean,
): FuzzProgram {
  let smallest = program;
  for (;;) {
    const next = [...simplerPrograms(smallest)].find(fails);
    if (next === undefined) return smallest;
    smallest = next;
  }
}

/**
 * Fuzz programs: a few tasks of a few statements over a few shared objects. Each task has one
 * register, which holds what it was told last; what it writes and where it branches depends on it.
 */
import { programOf } from '../../../src/check/scenario.ts';
import type { Program } from '../../../src/check/program.ts';
import { Kernel } from '../../../src/kernel/kernel.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import { allocateStatic } from '../../../src/kernel/slab.ts';
import { struct } from '../../../src/kernel/struct.ts';
import type { FuzzOperation, Kind, State } from './kinds.ts';
import { operandOf, SIGNAL_COUNT_MAX, type Code, type Instruction } from './machine.ts';

export type Statement =
  | {
      readonly kind: 'do';
      readonly operation: FuzzOperation;
      /** Index of its object. */
      readonly object: number;
      readonly argument: number;
    }
  | {
      readonly kind: 'if';
      /** The condition: the register holds this. */
      readonly value: number;
      readonly inside: readonly Statement[];
      readonly otherwise: readonly Statement[];
    };

export interface FuzzProgram {
  readonly objects: readonly Kind[];
  readonly tasks: readonly (readonly Statement[])[];
}

// ---- as instructions ------------------------------------------------------------------------

type Operations = Extract<Statement, { kind: 'do' }>[];

function compile(
  statements: readonly Statement[],
  code: Instruction[],
  operations: Operations,
): void {
  for (const statement of statements) {
    if (statement.kind === 'do') {
      operations.push(statement);
      for (const step of statement.operation.steps) {
        const { object, argument } = statement;
        code.push({ kind: 'step', step, object, argument, statement: operations.length - 1 });
      }
      continue;
    }
    const unless = code.length;
    code.push({ kind: 'unless', value: statement.value, target: -1 });
    compile(statement.inside, code, operations);
    const jump = code.length;
    if (statement.otherwise.length > 0) code.push({ kind: 'jump', target: -1 });
    code[unless] = { kind: 'unless', value: statement.value, target: code.length };
    compile(statement.otherwise, code, operations);
    if (statement.otherwise.length > 0) code[jump] = { kind: 'jump', target: code.length };
  }
}

/** The program for the machine that defines what it does. */
export function codeOf(program: FuzzProgram): Code {
  return program.tasks.map((statements) => {
    const code: Instruction[] = [];
    compile(statements, code, []);
    return code;
  });
}

// ---- on the kernel --------------------------------------------------------------------------

/** What the tasks of a running program share: the objects, and each task's register. */
export interface KernelState {
  readonly state: State;
  readonly registers: number[];
}

export function keyOf(program: FuzzProgram, object: number): string {
  return `${program.objects[object]?.prefix ?? '?'}${object}`;
}

/** The body of one task on the kernel. Made once for each program. */
function bodyOf(program: FuzzProgram, task: number) {
  return function* run({ state, registers }: KernelState): Body<void> {
    /** What is still to be done, the next statement last. */
    const rest: Statement[] = [...(program.tasks[task] ?? [])].toReversed();
    for (;;) {
      const statement = rest.pop();
      if (statement === undefined) return;
      const register = registers[task] as number;
      if (statement.kind === 'if') {
        rest.push(
          ...(register === statement.value ? statement.inside : statement.otherwise).toReversed(),
        );
        continue;
      }
      const { operation, object, argument } = statement;
      const operand = operandOf(register, argument);
      const result = yield* operation.run({ state, key: keyOf(program, object), operand });
      if (operation.told !== undefined) registers[task] = operation.told(result);
    }
  };
}

export interface OnKernel {
  readonly program: Program;
  /** What the execution that was started last has come to, as `Machine.outcome` says it. */
  readonly outcome: (kernel: Kernel) => string;
}

/** The program as one for the kernel. */
export function onKernel(program: FuzzProgram): OnKernel {
  const fields = program.objects.map((kind, at) => [keyOf(program, at), kind.field()] as const);
  const type = struct('s', Object.fromEntries(fields));
  let last: KernelState | null = null;
  const scenario = {
    name: 'fuzz',
    variants: { v: {} },
    faults: { signals: SIGNAL_COUNT_MAX },
    boot: (options: ConstructorParameters<typeof Kernel>[0]) => new Kernel(options),
    setup(kernel: Kernel): KernelState {
      last = {
        state: allocateStatic(kernel, type) as unknown as State,
        registers: program.tasks.map(() => 0),
      };
      return last;
    },
    tasks: Object.fromEntries(
      program.tasks.map((_, at) => [`t${at}`, { run: bodyOf(program, at) }]),
    ),
  };
  return {
    program: programOf(scenario, 'v'),
    outcome(kernel) {
      const { state, registers } = last as KernelState;
      const values = program.objects.map((kind, at) => kind.valueOf(state, keyOf(program, at)));
      const waiting = kernel.tasks.map((task) => (task.isDone ? 'ended' : 'waits'));
      return `values ${values.join(' ')}, told ${registers.join(' ')}, ${waiting.join(' ')}`;
    },
  };
}

// ---- for people -----------------------------------------------------------------------------

function lines(program: FuzzProgram, statements: readonly Statement[], indent: string): string[] {
  return statements.flatMap((statement) => {
    if (statement.kind === 'do') {
      const { operation, object, argument } = statement;
      const target = program.objects[object] === undefined ? '' : keyOf(program, object);
      const told = operation.told === undefined ? '' : 'r = ';
      return [`${indent}${told}${operation.name}(${target}, r + ${argument})`];
    }
    const inner = `${indent}  `;
    return [
      `${indent}if (r == ${statement.value}) {`,
      ...lines(program, statement.inside, inner),
      ...(statement.otherwise.length > 0
        ? [`${indent}} else {`, ...lines(program, statement.otherwise, inner)]
        : []),
      `${indent}}`,
    ];
  });
}

/** The program as a person would write it. */
export function showProgram(program: FuzzProgram): string {
  return program.tasks
    .flatMap((statements, at) => [`task ${at}:`, ...lines(program, statements, '  ')])
    .join('\n');
}

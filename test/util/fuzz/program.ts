/**
 * Fuzz programs: a few tasks of a few statements over a few shared objects. Each task has one
 * register, which holds what it was told last; what it writes and where it branches depends on it.
 */
import { programOf } from '../../../src/check/scenario.ts';
import type { Program } from '../../../src/check/program.ts';
import { bugOn } from '../../../src/kernel/assertion.ts';
import { Kernel, type KernelOptions } from '../../../src/kernel/kernel.ts';
import { made, Operation, type Body } from '../../../src/kernel/operation.ts';
import { PLAIN_CODE } from '../../../src/kernel/plain-code.ts';
import { retry, RETRY } from '../../../src/kernel/retry.ts';
import { running } from '../../../src/kernel/running.ts';
import { allocateStatic } from '../../../src/kernel/slab.ts';
import { struct } from '../../../src/kernel/struct.ts';
import type { Task } from '../../../src/kernel/task.ts';
import type { Watch } from '../../../src/kernel/watch.ts';
import { taskName, taskNumber, type FuzzOperation, type Kind, type State } from './kind/kind.ts';
import {
  FOUND,
  operandOf,
  outcomeText,
  SIGNAL_COUNT_MAX,
  type MachineProgram,
  type Instruction,
  type StepDefinition,
} from './machine.ts';

export interface Do {
  readonly kind: 'do';
  readonly operation: FuzzOperation;
  /** Index of its object. */
  readonly object: number;
  readonly argument: number;
}

export type Statement =
  | Do
  /** Sets the register to 0 and runs what is inside, again and again until the register has the value. */
  | { readonly kind: 'retry'; readonly inside: readonly Do[]; readonly value: number }
  | {
      readonly kind: 'if';
      /** The condition: the register holds this. */
      readonly value: number;
      readonly inside: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  /** BUG_ON: ends the task, with all that it holds, if the register holds the value. */
  | { readonly kind: 'bug'; readonly value: number }
  /** Plain accesses, where {@link FuzzProgram.isVisible}: into the register, or of what it gives. */
  | { readonly kind: 'load'; readonly object: number }
  | { readonly kind: 'store'; readonly object: number; readonly argument: number }
  /** Starts the task of that number, which is not there before. */
  | { readonly kind: 'start'; readonly task: number };

export interface FuzzProgram {
  readonly objects: readonly Kind[];
  readonly tasks: readonly (readonly Statement[])[];
  /** For each task the CPU that it may share with others, or null for one of its own. */
  readonly cpus: readonly (number | null)[];
  /** The tasks that are interrupt handlers, which come in between the others of their CPU: bit mask. */
  readonly handlers: number;
  /** True if its memory is visible: what tasks do between two operations is a step of its own. */
  readonly isVisible: boolean;
}

// ---- as instructions ------------------------------------------------------------------------

/** A step that nobody sees and nothing hinders. */
const BARE_STEP: StepDefinition = { take: () => ({}) };
const ENTRY_STEP: StepDefinition = { take: () => ({}), isEntry: true };

function compile(statements: readonly Statement[], code: Instruction[]): void {
  for (const statement of statements) {
    if (statement.kind === 'do') {
      const { object, argument } = statement;
      for (const step of statement.operation.steps) {
        code.push({ kind: 'step', step, object, argument });
      }
      continue;
    }
    if (statement.kind === 'bug' || statement.kind === 'load' || statement.kind === 'store') {
      code.push(statement);
      continue;
    }
    if (statement.kind === 'retry') {
      const target = code.length;
      code.push({ kind: 'round' });
      compile(statement.inside, code);
      const again = { value: statement.value, target };
      code.push({ kind: 'step', step: BARE_STEP, object: 0, argument: 0, again });
      continue;
    }
    if (statement.kind === 'start') {
      code.push({ kind: 'step', step: BARE_STEP, object: 0, argument: 0, starts: statement.task });
      continue;
    }
    const unless = code.length;
    code.push({ kind: 'unless', value: statement.value, target: -1 });
    compile(statement.inside, code);
    const jump = code.length;
    if (statement.otherwise.length > 0) code.push({ kind: 'jump', target: -1 });
    code[unless] = { kind: 'unless', value: statement.value, target: code.length };
    compile(statement.otherwise, code);
    if (statement.otherwise.length > 0) code[jump] = { kind: 'jump', target: code.length };
  }
}

/** The program for the machine that defines what it does. */
export function forMachine(program: FuzzProgram): MachineProgram {
  const { objects, tasks, cpus, handlers, isVisible } = program;
  const code = tasks.map((statements, task) => {
    const instructions: Instruction[] = [];
    const isHandler = isHandlerOf(program, task);
    const bare = { kind: 'step', object: 0, argument: 0 } as const;
    if (isHandler) instructions.push({ ...bare, step: ENTRY_STEP });
    compile(statements, instructions);
    if (isHandler) instructions.push({ ...bare, step: BARE_STEP });
    return instructions;
  });
  return { code, objects, cpus, handlers, pauses: isVisible };
}

export function isHandlerOf({ handlers }: FuzzProgram, task: number): boolean {
  return (handlers & (1 << task)) !== 0;
}

/** What the memory of a program's objects is called. */
export const MEMORY_NAME = 's';

// ---- on the kernel --------------------------------------------------------------------------

/** What the tasks of a running program share: the objects, and each task's register. */
export interface KernelState {
  readonly state: State;
  readonly registers: number[];
}

export function keyOf(program: FuzzProgram, object: number): string {
  return `${program.objects[object]?.prefix ?? '?'}${object}`;
}

interface StartRequest {
  readonly task: number;
  readonly cpu: number | null;
  readonly shared: KernelState;
  readonly bodies: readonly KernelBody[];
}

type KernelBody = (shared: KernelState) => Body<void>;

/** Starts a task; a step of its own, which touches nothing. The argument is a StartRequest. */
class Start extends Operation {
  override footprint(): void {}

  perform({ argument }: Task): void {
    const { task, cpu, shared, bodies } = argument as StartRequest;
    running.spawn(taskName(task), 'thread', cpu, () => (bodies[task] as KernelBody)(shared));
  }

  describe({ argument }: Task): string {
    return `start(t${(argument as StartRequest).task})`;
  }
}

const START = new Start(null);

/** The body of one task on the kernel. Made once for each program. */
function bodyOf(program: FuzzProgram, task: number, bodies: readonly KernelBody[]): KernelBody {
  return function* run(shared) {
    const { state, registers } = shared;
    const kept = program.objects.map((): number[] => []);
    /** What is still to be done, the next statement last. */
    const rest: Statement[] = [...(program.tasks[task] ?? [])].toReversed();
    for (;;) {
      const statement = rest.pop();
      if (statement === undefined) return;
      const register = registers[task] as number;
      if (statement.kind === 'if') {
        const { value, inside, otherwise } = statement;
        rest.push(...(register === value ? inside : otherwise).toReversed());
      } else if (statement.kind === 'bug') {
        bugOn(register === statement.value, `r == ${statement.value}`);
      } else if (statement.kind === 'load') {
        registers[task] = state[keyOf(program, statement.object)] as number;
      } else if (statement.kind === 'store') {
        state[keyOf(program, statement.object)] = operandOf(register, statement.argument);
      } else if (statement.kind === 'start') {
        const cpu = program.cpus[statement.task] ?? null;
        const request: StartRequest = { task: statement.task, cpu, shared, bodies };
        yield* made(START, request);
      } else if (statement.kind === 'retry') {
        yield* retry(`r == ${statement.value}`, function* () {
          registers[task] = 0;
          for (const inside of statement.inside) yield* operate(inside);
          return registers[task] === statement.value ? 0 : RETRY;
        });
      } else {
        yield* operate(statement);
      }
    }

    function* operate({ operation, object, argument }: Do): Body<void> {
      const operand = operandOf(registers[task] as number, argument);
      const key = keyOf(program, object);
      const result = yield* operation.run({ state, key, operand, kept: kept[object] ?? [] });
      if (operation.isKept === true) kept[object]?.push(result as number);
      if (operation.told !== undefined) registers[task] = operation.told(result);
    }
  };
}

/** The tasks that some statement starts. */
export function startedTasks(statements: readonly Statement[]): readonly number[] {
  return statements.flatMap((statement) => {
    if (statement.kind === 'start') return [statement.task];
    if (statement.kind !== 'if') return [];
    return [...startedTasks(statement.inside), ...startedTasks(statement.otherwise)];
  });
}

/** Notes what the kernel finds, as the machine does. */
class FindingWatch implements Watch {
  /** By the names of the tasks. */
  private readonly found = new Map<string, string>();
  private stuckCount = 0;

  onStart(): void {
    this.found.clear();
    this.stuckCount = 0;
  }

  onAssertion(kernel: Kernel): void {
    this.note(kernel.currentTask, FOUND.bug);
  }

  onCounterMisuse(kernel: Kernel): void {
    this.note(kernel.currentTask, FOUND.counter);
  }

  onLockMisuse(kernel: Kernel): void {
    this.note(kernel.currentTask, FOUND.held);
  }

  onMaySleep(_kernel: Kernel, task: Task): void {
    this.note(task, FOUND.sleep);
  }

  onStuck(_kernel: Kernel, blocked: readonly Task[]): void {
    this.stuckCount = blocked.length;
  }

  /** For each task of the program; without those that are stuck, which are in `waiting`. */
  of(kernel: Kernel, taskCount: number): readonly string[] {
    const blocked = kernel.tasks.filter(({ isDone }) => !isDone).length;
    const hasOops = kernel.tasks.some(({ isOopsed }) => isOopsed);
    const isAsItShouldBe = this.stuckCount === (hasOops ? 0 : blocked);
    return Array.from({ length: taskCount }, (_, at) =>
      isAsItShouldBe ? (this.found.get(taskName(at)) ?? '') : 'stuck?',
    );
  }

  private note({ name }: Task, what: string): void {
    this.found.set(name, (this.found.get(name) ?? '') + what);
  }
}

export interface OnKernel {
  readonly program: Program;
  /** Must be told of what happens. */
  readonly watch: Watch;
  /** What the execution that was started last has come to, as `Machine.outcome` says it. */
  readonly outcome: (kernel: Kernel) => string;
  /** The number in the program of the kernel's task `index`. */
  readonly taskOf: (kernel: Kernel, index: number) => number;
}

/** The program as one for the kernel. */
export function onKernel(program: FuzzProgram): OnKernel {
  const fields = program.objects.map((kind, at) => [keyOf(program, at), kind.field()] as const);
  const type = struct(MEMORY_NAME, Object.fromEntries(fields));
  const bodies: KernelBody[] = [];
  bodies.push(...program.tasks.map((_, at) => bodyOf(program, at, bodies)));
  const started = startedTasks(program.tasks.flat());
  const first = [...bodies.entries()].filter(([at]) => !started.includes(at));
  let last: KernelState | null = null;
  const scenario = {
    name: 'fuzz',
    variants: { v: {} },
    faults: { signals: SIGNAL_COUNT_MAX },
    boot: (options: KernelOptions) => new Kernel(options),
    setup(kernel: Kernel): KernelState {
      const state = allocateStatic(kernel, type) as unknown as State;
      last = { state, registers: program.tasks.map(() => 0) };
      return last;
    },
    tasks: Object.fromEntries(
      first.map(([at, run]) => {
        const cpu = program.cpus[at] ?? null;
        const kind = isHandlerOf(program, at) ? ('interrupt' as const) : ('thread' as const);
        return [taskName(at), cpu === null ? { run, kind } : { run, kind, cpu }];
      }),
    ),
  };
  const findings = new FindingWatch();
  return {
    program: programOf(scenario, 'v'),
    watch: findings,
    taskOf: (kernel, index) => taskNumber(kernel.tasks[index] as Task),
    outcome(kernel) {
      const { state, registers } = last as KernelState;
      const values = program.objects.map((kind, at) => kind.valueOf(state, keyOf(program, at)));
      const tasks = program.tasks.map((_, at) =>
        kernel.tasks.find(({ name }) => name === taskName(at)),
      );
      const waiting = tasks.map((task) => {
        if (task === undefined) return 'absent';
        return task.isDone ? 'ended' : 'waits';
      });
      const told = registers.map((register, at) =>
        tasks[at]?.pending === PLAIN_CODE ? '-' : register,
      );
      return outcomeText(values, told, waiting, findings.of(kernel, program.tasks.length));
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
    if (statement.kind === 'retry') {
      const { inside, value } = statement;
      return [
        `${indent}do {`,
        `${indent}  r = 0`,
        ...lines(program, inside, `${indent}  `),
        `${indent}} while (r != ${value})`,
      ];
    }
    if (statement.kind === 'load') return [`${indent}r = ${keyOf(program, statement.object)}`];
    if (statement.kind === 'store') {
      return [`${indent}${keyOf(program, statement.object)} = r + ${statement.argument}`];
    }
    if (statement.kind === 'bug') return [`${indent}BUG_ON(r == ${statement.value})`];
    if (statement.kind === 'start') return [`${indent}start task ${statement.task}`];
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

function whereText(program: FuzzProgram, task: number): string {
  const cpu = program.cpus[task] ?? null;
  const what = isHandlerOf(program, task) ? ', a handler' : '';
  return cpu === null ? what : `${what} on CPU ${cpu}`;
}

/** The program as a person would write it. */
export function showProgram(program: FuzzProgram): string {
  return program.tasks
    .flatMap((statements, at) => [
      `task ${at}${whereText(program, at)}:`,
      ...lines(program, statements, '  '),
    ])
    .join('\n');
}

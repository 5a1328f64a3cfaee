/**
 * Explorers execute one order of each trace, and say what holds in all. So an execution must come to the same in every
 * order of its trace: each step as possible as before, with the same result, and in the end the same findings. What a
 * step touches without saying so (a global variable of the model, a look at a field past its accessor) shows here.
 *
 * ORDERS and ORDERS_EXECUTIONS ask for more.
 */
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { describe, expect, test } from 'vitest';
import { DRIVER_SCENARIOS } from '../../src/catalogue/index.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Execution } from '../../src/check/exploration.ts';
import { EventLog } from '../../src/claim/event-log.ts';
import { runInOrder } from '../../src/claim/linearise.ts';
import { Pass, Subject } from '../../src/claim/subject.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import type { Task } from '../../src/kernel/task.ts';
import { linearExtension } from '../util/linear-extension.ts';

const EXECUTIONS = Number(process.env['ORDERS_EXECUTIONS'] ?? 8);
const ORDERS = Number(process.env['ORDERS'] ?? 2);
/** Steps to find out in which memory is raced for. */
const SURVEY_STEPS = 3000;

/**
 * Where an invariant is asked at a moment that no step has a part in, as that a callback has returned: found in some
 * orders of a trace only. In all of them it is found in some order that is executed.
 */
const ASKED_AT_A_MOMENT = new Set([
  'get-after-exit unpinned',
  'unregister-exit 751efd8610d3',
  'hmm-unregister-exit v5.3',
  'svm-second-iommu v5.3',
]);

/** A task's name that is the same in every order. */
function nameOf(task: Task, all: readonly Task[]): string {
  const { parent } = task;
  if (parent === null) return task.name;
  const siblings = all.filter((one) => one.parent === parent);
  return `${nameOf(parent, all)}/${siblings.indexOf(task)}`;
}

/** What each task did and what came of it, what was found, and the goals. */
function behaviourOf({ subject }: Tested, kernel: Kernel, log: EventLog): string[] {
  const tasks = kernel.tasks as readonly Task[];
  const deeds = tasks.map((task) => [nameOf(task, tasks)]);
  for (const [step, task] of log.taskOfStep.entries()) {
    deeds[task]?.push(`${log.descriptionOf(step)} → ${log.resultOf(step)?.text ?? ''}`);
  }
  const isMomentary = ASKED_AT_A_MOMENT.has(`${subject.scenario.name} ${subject.variant}`);
  const findings = kernel.findings
    // Lockdep knows of all executions before this one, and reports a cycle once.
    .filter(({ kind }) => kind !== 'lock-order' && !(isMomentary && kind === 'invariant'))
    .map(({ kind, object, message }) => `${kind} of ${object}: ${message}`);
  return [
    ...deeds.map((lines) => lines.join('\n')).toSorted(),
    ...new Set(findings.toSorted()),
    ...[...kernel.goals].toSorted(),
  ];
}

interface Tested {
  readonly subject: Subject;
  readonly execution: Execution;
}

function inOrder(tested: Tested, order: readonly number[]): string[] {
  const { subject, execution } = tested;
  const log = new EventLog(subject.table, subject.logOptions);
  const { kernel } = runInOrder(subject.program(log), execution.schedule, {
    order,
    former: execution.kernel.tasks as readonly Task[],
    watches: [log, ...allDetectors()],
    visibleMemory: subject.visible,
  });
  return behaviourOf(tested, kernel, log);
}

interface Difference {
  readonly execution: number;
  readonly wanted: readonly string[];
  readonly got: readonly string[];
}

/** Where an order of a trace differs from the one that was executed; null if more memory is to be visible. */
function differences(subject: Subject): Difference[] | null {
  const random = xoroshiro128plus(1);
  const log = new EventLog(subject.table, subject.logOptions);
  const found: Difference[] = [];
  const pass = new Pass(subject, log, {
    executionCountMax: EXECUTIONS,
    onExecution: (execution) => {
      if (execution.isCut === true || execution.kernel.cut !== null) return null;
      const tested = { subject, execution };
      const wanted = behaviourOf(tested, execution.kernel, log);
      for (let count = 0; count < ORDERS; count += 1) {
        const got = inOrder(tested, linearExtension(execution, random));
        if (got.join('\n') !== wanted.join('\n')) {
          found.push({ execution: pass.executions, wanted, got });
        }
      }
      return null;
    },
  });
  pass.run();
  return pass.hasMoreVisible ? null : found;
}

for (const scenario of DRIVER_SCENARIOS) {
  describe(scenario.name, () => {
    test.each(Object.keys(scenario.variants))('%s comes to the same in other orders', (variant) => {
      const subject = new Subject(scenario, variant, { hasAccesses: false, resolvePlace: null });
      subject.survey(SURVEY_STEPS);
      let found = differences(subject);
      while (found === null) found = differences(subject);
      for (const { execution, wanted, got } of found) {
        expect(got, `execution ${execution}`).toEqual(wanted);
      }
    });
  });
}

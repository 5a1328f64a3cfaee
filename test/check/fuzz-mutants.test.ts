/**
 * A fuzzer that never fails proves nothing: explorers with a rule left out must be caught, by what they do
 * wrong. Most of the rules are such as other tools have forgotten.
 */
import { describe, expect, test } from 'vitest';
import { LastAccess } from '../../src/check/last-access.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import type { OptimalNode } from '../../src/check/optimal-node.ts';
import type { Node as SourceNode } from '../../src/check/search-node.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { TraceOrder, type Step } from '../../src/check/trace-order.ts';
import { AS_OTHER, AS_PART, Beginning, type Branch } from '../../src/check/wakeup-tree.ts';
import {
  access,
  COMMUTE,
  conflicts,
  modeOf,
  READ,
  variableOf,
  WRITE,
  type Access,
} from '../../src/kernel/operation.ts';
import type { Task } from '../../src/kernel/task.ts';
import type { ExplorerClass } from '../util/fuzz/compare.ts';
import { LOCKING, STARTING, STUCK, WAITING } from '../util/fuzz/generate.ts';
import { fuzz, showFailure } from '../util/fuzz/run.ts';
import { WatchedDpor, WatchedOrder } from '../util/fuzz/watched.ts';

/** Programs after which a broken explorer must have been caught. */
const COUNT = 3000;
const FILE = 'test/check/fuzz.test.ts';

/** What is wrong with the smallest program for which the explorer fails. */
function caught(Explorer: ExplorerClass, family = LOCKING, seed = 1): string {
  const { failure, programs } = fuzz({ seed, count: COUNT, explorers: [Explorer], family });
  if (failure === null) throw new Error(`not caught in ${COUNT} programs`);
  process.stdout.write(`${Explorer.name}: caught by program ${programs}\n`);
  // What is printed must lead back to the program that failed.
  const again = fuzz({ seed: failure.seed, count: 1, explorers: [Explorer], family });
  expect(again.failure?.fault).toBe(failure.fault);
  expect(showFailure(failure, FILE)).toContain(
    `MMULAB_FUZZ_SEED=${failure.seed} MMULAB_FUZZ_COUNT=1`,
  );
  return failure.smallestFault;
}

/** Knows of each variable only which task accessed it last. */
class OneLastAccess extends LastAccess {
  private readonly lastTask = new Map<number, number>();

  override record(item: Access, task: number, step: number): void {
    super.record(item, task, step);
    this.lastTask.set(variableOf(item), task);
  }

  override lastConflict(item: Access, task: number): number {
    return this.lastTask.get(variableOf(item)) === task ? super.lastConflict(item, task) : -1;
  }

  override raiseToConflicts(item: Access, latest: Int32Array): void {
    const task = this.lastTask.get(variableOf(item));
    if (task === undefined) return;
    latest[task] = Math.max(latest[task] as number, super.lastConflict(item, task));
  }
}

/** An optimal explorer whose idea of the order of a trace is of another class. */
function optimalWith(makeOrder: (pauses: boolean) => TraceOrder, name: string): ExplorerClass {
  class Mutant extends WatchedDpor {
    protected override makeOrder(pauses: boolean): TraceOrder {
      return makeOrder(pauses);
    }
  }
  Object.defineProperty(Mutant, 'name', { value: name });
  return Mutant;
}

describe('an optimal explorer is caught that', () => {
  test('forgets the tasks that are blocked at the end', () => {
    class Forgetful extends OptimalDpor {
      protected override processBlockedTasks(): void {}
    }
    expect(caught(Forgetful)).toContain('never executed');
  });

  test('keeps one last access for each variable instead of one for each task', () => {
    const ShortSighted = optimalWith(
      (pauses) => new TraceOrder(pauses, new OneLastAccess()),
      'ShortSighted',
    );
    expect(caught(ShortSighted)).toContain('never executed');
  });

  test('lets no step sleep', () => {
    class Sleepless extends OptimalDpor {
      protected override inheritSleep(_at: number, node: OptimalNode): void {
        node.sleep.length = 0;
      }
    }
    expect(caught(Sleepless)).toContain('executed twice');
  });

  test('lets steps sleep for ever', () => {
    class Sleepy extends OptimalDpor {
      protected override inheritSleep(at: number, node: OptimalNode): void {
        node.sleep.length = 0;
        if (at > 0) node.sleep.push(...(this.nodes[at - 1] as OptimalNode).sleep);
      }
    }
    expect(caught(Sleepy)).toContain('never executed');
  });

  test('tries the other order of a step inside the time for which a lock is held', () => {
    class HastyOrder extends WatchedOrder {
      protected override withHolds(first: number): readonly number[] {
        return [first];
      }
    }
    const Hasty = optimalWith((pauses) => new HastyOrder(pauses), 'Hasty');
    // It plans what cannot be taken, notices, and goes on otherwise: that is only a waste.
    expect(caught(Hasty)).toContain('abandoned');
  });

  test('plans only those steps which the racing one comes after', () => {
    class ShortBeginning extends Beginning {
      override fill(group: readonly number[], racing: Step, at: number, depth: number): void {
        super.fill(group, racing, at, depth);
        const { clocks, before, steps: taken } = this.order;
        const isNeeded = (index: number): boolean => {
          const { task } = taken[index] as Step;
          const row = at < depth ? clocks.row(at) : before.row(at);
          return (row[task] as number) > index;
        };
        const left = this.steps.filter(isNeeded);
        this.steps.splice(0, this.steps.length, ...left);
        this.first.fill(-1);
        for (const index of left.toReversed()) this.first[(taken[index] as Step).task] = index;
      }
    }
    class Short extends OptimalDpor {
      protected override makeBeginning(): Beginning {
        return new ShortBeginning(this.order);
      }
    }
    expect(caught(Short)).toContain('never executed');
  });

  test('looks only at the races of new steps, whatever has turned out otherwise', () => {
    class Incurious extends OptimalDpor {
      protected override firstToLookAt(): number {
        return this.fresh;
      }
    }
    expect(caught(Incurious)).toContain('never executed');
  });

  test('looks only at the races of new steps, whatever an old one would touch', () => {
    class Settled extends OptimalDpor {
      protected override mustLookAgain(): boolean {
        return false;
      }
    }
    // Seldom needed, so begin near a program that needs it.
    expect(caught(Settled, WAITING, 7680)).toContain('never executed');
  });

  test('takes tasks with the same index in two executions for the same', () => {
    class NamelessOrder extends WatchedOrder {
      override nameOf(index: number): number {
        return index;
      }

      override indexOf(name: number): number {
        return name < this.kernel.tasks.length ? name : -1;
      }
    }
    const Nameless = optimalWith((pauses) => new NamelessOrder(pauses), 'Nameless');
    // It notices that it cannot go on as planned, and goes on otherwise.
    expect(caught(Nameless, STARTING)).toContain('planned what cannot be taken');
  });

  test('trusts what it has shortened', () => {
    class Trusting extends OptimalDpor {
      protected override get branchesPerTask(): number {
        return 0;
      }

      protected override covers(branch: Branch): boolean {
        const answer = this.beginning.beginsWith(branch);
        return answer === AS_PART || answer === AS_OTHER;
      }
    }
    expect(caught(Trusting)).toContain('never executed');
  });

  test('believes that operations touch the same in every state', () => {
    class SteadyOrder extends TraceOrder {
      override take(task: Task, outcome: number): Step {
        const step = super.take(task, outcome);
        step.varies = false;
        return step;
      }

      override blockedStep(task: Task, step: Step): Step {
        const found = super.blockedStep(task, step);
        found.varies = false;
        return found;
      }
    }
    const Steady = optimalWith((pauses) => new SteadyOrder(pauses), 'Steady');
    expect(caught(Steady)).toContain('never executed');
  });

  test('gives up where nothing that was planned can be taken', () => {
    class Resigned extends OptimalDpor {
      protected override planOther(): boolean {
        return false;
      }
    }
    expect(caught(Resigned, STUCK)).toContain('never executed');
  });
});

/** Takes every access of one mode for a write. */
function writing(mode: number, name: string): ExplorerClass {
  class WritingOrder extends TraceOrder {
    protected override footprintOf(task: Task): Access[] {
      const footprint = super.footprintOf(task);
      for (const [at, item] of footprint.entries()) {
        if (modeOf(item) === mode) footprint[at] = access(variableOf(item), WRITE);
      }
      return footprint;
    }
  }
  return optimalWith((pauses) => new WritingOrder(pauses), name);
}

describe('an explorer that does too much is caught because it', () => {
  test('takes reads for writes', () => {
    expect(conflicts(READ, READ)).toBe(false);
    expect(caught(writing(READ, 'Overcautious'))).toContain('executed twice');
  });

  test('puts updates in order that commute', () => {
    expect(conflicts(COMMUTE, COMMUTE)).toBe(false);
    expect(caught(writing(COMMUTE, 'Orderly'))).toContain('executed twice');
  });
});

describe('an explorer with source sets is caught that', () => {
  test('forgets the tasks that are blocked at the end', () => {
    class Forgetful extends SourceDpor {
      protected override checkBlockedTasks(): void {}
    }
    expect(caught(Forgetful)).toContain('never executed');
  });

  test('keeps one last access for each variable instead of one for each task', () => {
    class ShortSighted extends SourceDpor {
      protected override readonly last = new OneLastAccess();
    }
    expect(caught(ShortSighted)).toContain('never executed');
  });

  test('lets no task sleep', () => {
    class Sleepless extends SourceDpor {
      protected override sleepBelow(): number {
        return 0;
      }
    }
    expect(caught(Sleepless)).toContain('executed twice');
  });

  test('lets tasks sleep for ever', () => {
    class Sleepy extends SourceDpor {
      protected override sleepBelow(node: SourceNode): number {
        return node.sleep;
      }
    }
    expect(caught(Sleepy)).toContain('never executed');
  });

  test('tries the other order of a step inside the time for which a lock is held', () => {
    class Hasty extends SourceDpor {
      protected override withHolds(first: number): number[] | null {
        return [first];
      }
    }
    expect(caught(Hasty)).toContain('never executed');
  });
});

/**
 * The explorer against plain enumeration, on random programs. The seed is fixed, so that a run in CI
 * says the same every time; MMULAB_FUZZ_SEED and MMULAB_FUZZ_COUNT set another, and how many
 * programs there are.
 *
 * A fuzzer that never fails proves nothing: explorers with a rule left out must be caught.
 */
import { describe, expect, test } from 'vitest';
import { LastAccess } from '../../src/check/last-access.ts';
import type { Node } from '../../src/check/search-node.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import type { Access } from '../../src/kernel/operation.ts';
import { variableOf } from '../../src/kernel/operation.ts';
import type { ExplorerClass } from '../util/fuzz/compare.ts';
import { fuzz, showFailure, showReport, type Failure } from '../util/fuzz/run.ts';

const seed = Number(process.env['MMULAB_FUZZ_SEED'] ?? 1);
const count = Number(process.env['MMULAB_FUZZ_COUNT'] ?? 10_000);

/** How often a race was found of which no task could begin the other order. */
let helplessCount = 0;

class Observed extends SourceDpor {
  protected override initials(
    group: readonly number[],
    at: number,
    task: number,
    node: Node,
    row: Int32Array,
  ): number {
    const found = super.initials(group, at, task, node, row);
    const target = this.nodes[Math.min(...group)] as Node;
    if ((found & target.enabled) === 0) helplessCount += 1;
    return found;
  }
}

test(
  'no trace of a random program is missed, and none is executed twice',
  { timeout: 600_000 },
  () => {
    process.stdout.write(`fuzz: seed ${seed}, ${count} programs\n`);
    const report = fuzz({ seed, count, Explorer: Observed });
    process.stdout.write(`fuzz: ${showReport(report).replaceAll('\n', '\nfuzz: ')}\n`);
    expect(report.failure === null ? '' : showFailure(report.failure)).toBe('');
    expect(report.executions).toBe(report.traces);
    expect(helplessCount).toBe(0);
  },
);

describe('an explorer is caught that', () => {
  /** Programs after which a broken explorer must have been caught. */
  const COUNT = 3000;

  function caught(Explorer: ExplorerClass): Failure {
    const { failure } = fuzz({ seed: 1, count: COUNT, Explorer });
    if (failure === null) throw new Error(`not caught in ${COUNT} programs`);
    // What is printed must lead back to the program that failed.
    expect(fuzz({ seed: failure.seed, count: 1, Explorer }).failure?.fault).toBe(failure.fault);
    expect(showFailure(failure)).toContain(`MMULAB_FUZZ_SEED=${failure.seed} MMULAB_FUZZ_COUNT=1`);
    return failure;
  }

  test('forgets the tasks that are blocked at the end', () => {
    class Forgetful extends SourceDpor {
      protected override checkBlockedTasks(): void {}
    }
    expect(caught(Forgetful).smallestFault).toContain('never executed');
  });

  test('keeps one last access for each variable instead of one for each task', () => {
    class OneLastAccess extends LastAccess {
      private readonly lastTask = new Map<number, number>();

      override record(item: Access, task: number, step: number): void {
        super.record(item, task, step);
        this.lastTask.set(variableOf(item), task);
      }

      override lastConflict(item: Access, task: number): number {
        return this.lastTask.get(variableOf(item)) === task ? super.lastConflict(item, task) : -1;
      }
    }
    class ShortSighted extends SourceDpor {
      protected override readonly last = new OneLastAccess();
    }
    expect(caught(ShortSighted).smallestFault).toContain('never executed');
  });

  test('lets no task sleep', () => {
    class Sleepless extends SourceDpor {
      protected override sleepBelow(): number {
        return 0;
      }
    }
    expect(caught(Sleepless).smallestFault).toContain('executed twice');
  });

  test('lets tasks sleep for ever', () => {
    class Sleepy extends SourceDpor {
      protected override sleepBelow(node: Node): number {
        return node.sleep;
      }
    }
    expect(caught(Sleepy).smallestFault).toContain('never executed');
  });

  test('tries the other order of a step inside the time for which a lock is held', () => {
    class Hasty extends SourceDpor {
      protected override withHolds(first: number): number[] | null {
        return [first];
      }
    }
    expect(caught(Hasty).smallestFault).toContain('never executed');
  });
});

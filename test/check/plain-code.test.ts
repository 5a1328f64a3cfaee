import { expect, test } from 'vitest';
import { BoundedDpor } from '../../src/check/bounded-dpor.ts';
import type { Explorer, ExploreOptions } from '../../src/check/exploration.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import type { Program } from '../../src/check/program.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import { atomic, atomicInc } from '../../src/kernel/atomic.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { field, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { scenarioOf, type Run } from './small-scenario.ts';

const Node = struct('node', { value: field(0) });
type Node = InstanceOf<typeof Node>;

const FIELDS = { reads: atomic(0) };
const PREEMPTIONS = 3;

const EXPLORERS: Readonly<Record<string, (program: Program, options: ExploreOptions) => Explorer>> =
  {
    optimal: (program, options) => new OptimalDpor(program, options),
    source: (program, options) => new SourceDpor(program, options),
    bounded: (program, options) => new BoundedDpor(program, PREEMPTIONS, options),
  };

/** Tasks in either order: which of them an explorer runs first must not matter. */
function programWith(order: readonly ('reader' | 'freer')[]): Program {
  let node: Node;
  const tasks: Record<'reader' | 'freer', Run<typeof FIELDS>> = {
    *reader({ reads }) {
      yield* atomicInc(reads);
      node.value += 1;
      yield* atomicInc(reads);
    },
    *freer() {
      yield* kfree(node);
    },
  };
  const inOrder = Object.fromEntries(order.map((name) => [name, tasks[name]]));
  const scenario = scenarioOf(FIELDS, inOrder, {
    setup(kernel) {
      node = kernel.runNow(allocate());
    },
  });
  return programOf(scenario, 'v');
}

function* allocate(): Body<Node> {
  return (yield* kzalloc(Node, GFP_KERNEL)) as Node;
}

test.each(Object.keys(EXPLORERS))(
  'plain code is run before memory is freed and after: %s',
  (name) => {
    for (const order of [['reader', 'freer'] as const, ['freer', 'reader'] as const]) {
      const ends: string[] = [];
      EXPLORERS[name]?.(programWith(order), {
        visibleMemory: new Set(['node']),
        onExecution: ({ kernel }) => {
          const isOopsed = kernel.tasks.some((task) => task.isOopsed);
          ends.push(isOopsed ? 'use after free' : 'read');
          return false;
        },
      }).run();
      expect([...new Set(ends)].toSorted()).toEqual(['read', 'use after free']);
    }
  },
);

import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import { programOf } from '../../src/check/scenario.ts';
import { goal } from '../../src/kernel/choose.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import {
  initListHead,
  listAdd,
  listAddRcu,
  listAddTail,
  listAddTailRcu,
  listDel,
  listDelInit,
  listDelRcu,
  listEmpty,
  listEmptyLockless,
  listFirstEntry,
  listFirstEntryOrNull,
  listFirstRcu,
  listForEach,
  listForEachEntry,
  listForEachEntryReverse,
  listForEachEntrySafe,
  listForEachSafe,
  listHead,
  listIsSingular,
  listLastOrNull,
  listMove,
  listMoveTail,
  listNextRcu,
  listNode,
  listSpliceInit,
  listSpliceTailInit,
  type ListHead,
} from '../../src/kernel/list.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { rcuHead, rcuReadLock, rcuReadUnlock, kfreeRcu } from '../../src/kernel/rcu.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allocateStatic, kfree, kzalloc } from '../../src/kernel/slab.ts';
import {
  containerOf,
  embed,
  ptr,
  struct,
  type Instance,
  type InstanceOf,
} from '../../src/kernel/struct.ts';
import { check, scenarioOf, violationsOf } from '../check/small-scenario.ts';
import { compare } from '../util/brute-force.ts';
import { compareSmall } from '../util/compare-small.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

const NODE = struct('node', { id: 0, link: listNode() });
type Node = InstanceOf<typeof NODE>;
const FIELDS = {
  head: listHead(),
  a: embed(NODE),
  b: embed(NODE),
  c: embed(NODE),
  m: mutex(),
};
const STATE = struct('s', FIELDS);
type State = InstanceOf<typeof STATE>;
const HEADS = struct('heads', { one: listHead(), two: listHead() });

/** Runs plain code with a kernel around it. */
function inKernel(body: (kernel: Kernel) => void): void {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  const before = setRunning(kernel);
  body(kernel);
  setRunning(before);
}

function idsOf(head: ListHead): number[] {
  const ids = [...listForEachEntry(head, NODE, 'link')].map((node) => node.id);
  const reversed = [...listForEachEntryReverse(head, NODE, 'link')].map((node) => node.id);
  expect(reversed.toReversed()).toEqual(ids);
  return ids;
}

const CHANGES = [
  'add',
  'addTail',
  'addRcu',
  'addTailRcu',
  'del',
  'delInit',
  'delRcu',
  'move',
  'moveTail',
  'splice',
  'spliceTail',
] as const;
type Change = (typeof CHANGES)[number];

/** Two lists and, as the oracle, two arrays. */
class Pair {
  readonly lists: ListHead[];
  readonly arrays: number[][] = [[], []];
  readonly nodes: Node[];
  private readonly kernel: Kernel;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    const heads = allocateStatic(kernel, HEADS);
    this.lists = [heads.one, heads.two];
    this.nodes = [0, 1, 2, 3, 4].map((id) => {
      const node = allocateStatic(kernel, NODE);
      node.id = id;
      return node;
    });
  }

  apply(change: Change, id: number, to: number): void {
    const { link } = this.nodes[id] as Node;
    const head = this.lists[to] as ListHead;
    const from = this.arrays.findIndex((ids) => ids.includes(id));
    if (change === 'splice') listSpliceInit(this.lists[1 - to] as ListHead, head);
    if (change === 'spliceTail') listSpliceTailInit(this.lists[1 - to] as ListHead, head);
    if (change.startsWith('splice')) this.splice(to, change === 'splice');
    // Adding what is on a list and deleting what is not are mistakes, tested below.
    if (change.startsWith('add') !== from < 0 || change.startsWith('splice')) return;
    if (change === 'add') listAdd(link, head);
    if (change === 'addTail') listAddTail(link, head);
    if (change === 'addRcu') this.kernel.runNow(listAddRcu(link, head));
    if (change === 'addTailRcu') this.kernel.runNow(listAddTailRcu(link, head));
    if (change === 'del') listDel(link);
    if (change === 'delInit') listDelInit(link);
    if (change === 'delRcu') this.kernel.runNow(listDelRcu(link));
    if (change === 'move') listMove(link, head);
    if (change === 'moveTail') listMoveTail(link, head);
    if (from >= 0) this.arrays[from] = this.arrays[from]!.filter((other) => other !== id);
    if (!change.startsWith('del')) this.put(id, to, change.includes('Tail'));
  }

  private put(id: number, to: number, isTail: boolean): void {
    if (isTail) this.arrays[to]!.push(id);
    else this.arrays[to]!.unshift(id);
  }

  private splice(to: number, isFront: boolean): void {
    const moved = this.arrays[1 - to] as number[];
    const there = this.arrays[to] as number[];
    this.arrays[1 - to] = [];
    this.arrays[to] = isFront ? moved.concat(there) : there.concat(moved);
  }
}

test('every form changes the lists as arrays would be changed', () => {
  const steps = array(
    record({
      change: constantFrom(...CHANGES),
      id: integer({ min: 0, max: 4 }),
      to: integer({ min: 0, max: 1 }),
    }),
  );
  assert(
    property(steps, (changes) => {
      inKernel((kernel) => {
        const pair = new Pair(kernel);
        for (const { change, id, to } of changes) {
          pair.apply(change, id, to);
          for (const [at, head] of pair.lists.entries()) {
            const expected = pair.arrays[at] as number[];
            expect(idsOf(head)).toEqual(expected);
            expect(listEmpty(head)).toBe(expected.length === 0);
            expect(listIsSingular(head)).toBe(expected.length === 1);
            expect(listFirstEntryOrNull(head, NODE, 'link')?.id).toBe(expected[0]);
            expect(listLastOrNull(head) === null).toBe(expected.length === 0);
          }
        }
      });
    }),
    { seed: 1 },
  );
});

test('a safe walk may take off and free what it stands on', () => {
  inKernel((kernel) => {
    const s = allocateStatic(kernel, STATE);
    for (const node of [s.a, s.b, s.c]) listAddTail(node.link, s.head);
    const met: string[] = [];
    for (const node of listForEachSafe(s.head)) {
      listDel(node);
      met.push(node.path);
    }
    expect(met).toEqual(['s.a.link', 's.b.link', 's.c.link']);
    expect([...listForEachEntrySafe(s.head, NODE, 'link')]).toEqual([]);
  });
});

/** What is found when one task runs `body`. */
function alone(body: (s: State) => Body<unknown>): string[] {
  return outcomes(small(FIELDS, { t: body }));
}

test('adding what is on a list warns and does nothing', () => {
  const again = alone(function* t(s) {
    listAdd(s.a.link, s.head);
    listAdd(s.b.link, s.head);
    listAdd(s.a.link, s.head);
    yield* listAddTailRcu(s.a.link, s.head);
    goal(`${idsOf(s.head).length} on the list`);
  });
  expect(again).toEqual([
    '2 on the list, warn: list_add corruption: s.a.link is on a list already',
  ]);
});

test('deleting what is on no list warns and does nothing', () => {
  const twice = alone(function* t(s) {
    listAdd(s.a.link, s.head);
    listDel(s.a.link);
    listDel(s.a.link);
    yield* listDelRcu(s.b.link);
  });
  expect(twice).toEqual([
    'warn: list_del corruption: s.a.link is on no list, ' +
      'warn: list_del corruption: s.b.link is on no list',
  ]);
  const harmless = alone(function* t(s) {
    initListHead(s.a.link);
    listDelInit(s.a.link);
    yield* listEmptyLockless(s.a.link);
  });
  expect(harmless).toEqual(['nothing']);
});

test('going on from a deleted node, and the first entry of an empty list, trap', () => {
  const poison = alone(function* t(s) {
    listAdd(s.a.link, s.head);
    for (const node of listForEach(s.head)) listDel(node);
    yield* listEmptyLockless(s.head);
  });
  expect(poison).toEqual(['null-dereference: use of next of s.a.link']);
  const empty = alone(function* t(s) {
    goal(`id ${listFirstEntry(s.head, NODE, 'link').id}`);
    yield* listEmptyLockless(s.head);
  });
  expect(empty).toEqual(['null-dereference: use of s.head as node.link']);
});

/** Walks the list as a reader and notes what it meets. */
function* walk(s: State): Body<void> {
  let met = '';
  for (let at = yield* listFirstRcu(s.head); at !== null; at = yield* listNextRcu(at, s.head)) {
    met += containerOf(at, NODE, 'link').path.at(-1);
  }
  goal(`met ${met}`);
}

/** Tasks change and walk a list on which a and b are, in that order. */
function onTwoNodes(tasks: Record<string, (s: State) => Body<unknown>>) {
  const scenario = scenarioOf(FIELDS, tasks, {
    setup(_kernel, s) {
      listAddTail(s.a.link, s.head);
      listAddTail(s.b.link, s.head);
    },
  });
  return programOf(scenario, 'v');
}

test('a reader who stands on a node that is unlinked finds its way on', () => {
  const made = onTwoNodes({
    reader: walk,
    *writer(s) {
      yield* listDelRcu(s.a.link);
    },
  });
  expect(compare(made)).toMatchObject({ faults: [], missing: [], repeated: [] });
  expect(outcomes(made)).toEqual(['met ab', 'met b']);
});

test('a reader may meet a node that is added at the end while it walks', () => {
  const made = onTwoNodes({
    reader: walk,
    *writer(s) {
      yield* listAddTailRcu(s.c.link, s.head);
    },
  });
  expect(compare(made)).toMatchObject({ faults: [], missing: [], repeated: [] });
  expect(outcomes(made)).toEqual(['met ab', 'met abc']);
});

// No step looks at raw links: what code between two steps reads is declared by none. Adding and
// deleting test for themselves whether they may.
const STEPS: Record<string, (s: State) => Body<void>> = {
  walk,
  *empty(s) {
    goal((yield* listEmptyLockless(s.head)) ? 'empty' : 'not empty');
  },
  *addC(s) {
    yield* mutexLock(s.m);
    yield* listAddRcu(s.c.link, s.head);
    yield* mutexUnlock(s.m);
  },
  *addCTail(s) {
    yield* mutexLock(s.m);
    yield* listAddTailRcu(s.c.link, s.head);
    yield* mutexUnlock(s.m);
  },
  *delA(s) {
    yield* mutexLock(s.m);
    yield* listDelRcu(s.a.link);
    yield* mutexUnlock(s.m);
  },
  *delUnlocked(s) {
    yield* listDelRcu(s.b.link);
  },
  *addUnlocked(s) {
    yield* listAddTailRcu(s.c.link, s.head);
  },
};

test('random writers, locked and not, beside readers are explored exactly', () => {
  const task = array(constantFrom(...Object.keys(STEPS)), { minLength: 1, maxLength: 2 });
  let compared = 0;
  assert(
    property(array(task, { minLength: 2, maxLength: 3 }), (tasks) => {
      const bodies = tasks.map((names, at) => [
        `t${at}`,
        function* body(s: State): Body<void> {
          for (const name of names) yield* STEPS[name]!(s);
        },
      ]);
      const found = compareSmall(onTwoNodes(Object.fromEntries(bodies)));
      if (found === null) return;
      compared += 1;
      expect(found).toMatchObject({ faults: [], missing: [], repeated: [] });
      expect(found.executions).toBe(found.traces);
    }),
    { numRuns: 60, seed: 2 },
  );
  expect(compared).toBeGreaterThan(45);
});

const LISTED = struct('listed', { value: 0, link: listNode(), rcu: rcuHead() });
const SHARED = { head: listHead(), node: ptr<InstanceOf<typeof LISTED>>() };
type Shared = Instance<typeof SHARED>;

function* reader(s: Shared): Body<void> {
  yield* rcuReadLock();
  for (let at = yield* listFirstRcu(s.head); at !== null; at = yield* listNextRcu(at, s.head)) {
    goal(`saw ${containerOf(at, LISTED, 'link').value}`);
  }
  yield* rcuReadUnlock();
}

/** A node is taken off a list that a reader walks, and freed. */
function reclaim(waits: boolean) {
  return check(
    SHARED,
    {
      reader,
      *writer(s) {
        const node = s.node!;
        yield* listDelRcu(node.link);
        if (waits) yield* kfreeRcu(node.rcu);
        else yield* kfree(node);
      },
    },
    {
      setup(kernel, s) {
        s.node = kernel.runNow(kzalloc(LISTED, GFP_KERNEL));
        listAdd(s.node!.link, s.head);
      },
    },
  );
}

test('a node that is freed after a grace period is not used after free', () => {
  expect(reclaim(true)).toMatchObject({ verdict: 'clean', complete: true });
  expect(violationsOf(reclaim(false))).toContain('use-after-free listed');
});

/** What is found when a node is added beside a reader. */
function publish(isRcu: boolean): string[] {
  return violationsOf(
    check(SHARED, {
      reader,
      *writer(s) {
        s.node = yield* kzalloc(LISTED, GFP_KERNEL);
        s.node!.value = 7;
        if (isRcu) yield* listAddRcu(s.node!.link, s.head);
        else listAdd(s.node!.link, s.head);
      },
    }),
  );
}

test('what is published by list_add_rcu does not race, what is added plainly does', () => {
  expect(publish(true)).toEqual([]);
  expect(publish(false)).toContain('data-race s.head.next');
});

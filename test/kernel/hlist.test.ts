import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import { programOf } from '../../src/check/scenario.ts';
import {
  hlistAddHead,
  hlistAddHeadRcu,
  hlistDel,
  hlistDelInit,
  hlistDelInitRcu,
  hlistDelRcu,
  hlistEmpty,
  hlistEmptyLockless,
  hlistFirst,
  hlistFirstRcu,
  hlistForEach,
  hlistForEachEntry,
  hlistForEachEntrySafe,
  hlistForEachSafe,
  hlistHead,
  hlistNext,
  hlistNextRcu,
  hlistNode,
  hlistUnhashed,
  hlistUnhashedLockless,
  type HlistHead,
} from '../../src/kernel/hlist.ts';
import { goal } from '../../src/kernel/choose.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allocateStatic, kfree, kzalloc } from '../../src/kernel/slab.ts';
import {
  srcuReadLock,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
} from '../../src/kernel/srcu.ts';
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

const NODE = struct('node', { id: 0, hlist: hlistNode() });
type Node = InstanceOf<typeof NODE>;
const FIELDS = {
  head: hlistHead(),
  a: embed(NODE),
  b: embed(NODE),
  c: embed(NODE),
  m: mutex(),
};
const STATE = struct('s', FIELDS);
type State = InstanceOf<typeof STATE>;

/** Runs plain code with a kernel around it. */
function inKernel(body: (kernel: Kernel) => void): void {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  const before = setRunning(kernel);
  body(kernel);
  setRunning(before);
}

function idsOf(head: HlistHead): number[] {
  return [...hlistForEachEntry(head, NODE, 'hlist')].map((node) => node.id);
}

const CHANGES = ['add', 'addRcu', 'del', 'delInit', 'delRcu', 'delInitRcu'] as const;

test('every form changes the list as an array would be changed', () => {
  const steps = array(
    record({ change: constantFrom(...CHANGES), at: integer({ min: 0, max: 4 }) }),
  );
  assert(
    property(steps, (changes) => {
      inKernel((kernel) => {
        const head = allocateStatic(kernel, struct('h', { head: hlistHead() })).head;
        const nodes = [0, 1, 2, 3, 4].map((id) => {
          const node = allocateStatic(kernel, NODE);
          node.id = id;
          return node;
        });
        let expected: number[] = [];
        for (const { change, at } of changes) {
          const { hlist } = nodes[at] as Node;
          const isOn = expected.includes(at);
          // Adding what is on a list and deleting what is not are mistakes, tested below.
          if (change.startsWith('add') === isOn && !change.startsWith('delInit')) continue;
          // A poisoned node is not unhashed.
          if (change.startsWith('delInit') && !isOn && !hlistUnhashed(hlist)) continue;
          if (change === 'add') hlistAddHead(hlist, head);
          if (change === 'addRcu') kernel.runNow(hlistAddHeadRcu(hlist, head));
          if (change === 'del') hlistDel(hlist);
          if (change === 'delInit') hlistDelInit(hlist);
          if (change === 'delRcu') kernel.runNow(hlistDelRcu(hlist));
          if (change === 'delInitRcu') kernel.runNow(hlistDelInitRcu(hlist));
          if (change.startsWith('add')) expected.unshift(at);
          else expected = expected.filter((id) => id !== at);
          expect(idsOf(head)).toEqual(expected);
          expect(hlistEmpty(head)).toBe(expected.length === 0);
          expect(hlist.isHashed).toBe(expected.includes(at));
        }
      });
    }),
    { seed: 1 },
  );
});

test('a safe walk may take off and free what it stands on', () => {
  inKernel((kernel) => {
    const s = allocateStatic(kernel, STATE);
    for (const node of [s.a, s.b, s.c]) hlistAddHead(node.hlist, s.head);
    for (const node of hlistForEachSafe(s.head)) hlistDel(node);
    expect(hlistEmpty(s.head)).toBe(true);
    for (const node of hlistForEachEntrySafe(s.head, NODE, 'hlist')) expect(node).toBe(null);
  });
});

test('first and next lead through the list, containerOf to the struct around', () => {
  inKernel((kernel) => {
    const s = allocateStatic(kernel, STATE);
    hlistAddHead(s.b.hlist, s.head);
    hlistAddHead(s.a.hlist, s.head);
    const first = hlistFirst(s.head)!;
    expect(containerOf(first, NODE, 'hlist') === s.a).toBe(true);
    expect(hlistNext(first) === s.b.hlist).toBe(true);
    expect([...hlistForEach(s.head)].map((node) => node.path)).toEqual(['s.a.hlist', 's.b.hlist']);
  });
});

/** A program of one task on the given state. */
function alone(body: (s: State) => Body<unknown>): string[] {
  return outcomes(small(FIELDS, { t: body }));
}

test('adding a node that is on a list warns and does nothing', () => {
  expect(
    alone(function* t(s) {
      hlistAddHead(s.a.hlist, s.head);
      hlistAddHead(s.a.hlist, s.head);
      yield* hlistAddHeadRcu(s.a.hlist, s.head);
      goal(`${idsOf(s.head).length} on the list`);
    }),
  ).toEqual(['1 on the list, warn: hlist corruption: s.a.hlist is added while it is on a list']);
});

test('deleting a node twice follows poison', () => {
  const first = alone(function* t(s) {
    hlistAddHead(s.a.hlist, s.head);
    hlistDel(s.a.hlist);
    yield* hlistDelRcu(s.a.hlist);
  });
  expect(first).toEqual(['null-dereference: use of pprev of s.a.hlist']);
  const never = alone(function* t(s) {
    yield* hlistDelRcu(s.a.hlist);
  });
  expect(never).toEqual(['null-dereference: use of pprev of s.a.hlist']);
});

test('going on from a node that was deleted for good follows poison', () => {
  expect(
    alone(function* t(s) {
      hlistAddHead(s.a.hlist, s.head);
      for (const node of hlistForEach(s.head)) hlistDel(node);
    }),
  ).toEqual(['null-dereference: use of next of s.a.hlist']);
});

test('hlist_del_init_rcu does nothing to a node that is on no list', () => {
  expect(
    alone(function* t(s) {
      yield* hlistAddHeadRcu(s.a.hlist, s.head);
      yield* hlistDelInitRcu(s.a.hlist);
      yield* hlistDelInitRcu(s.a.hlist);
      goal((yield* hlistUnhashedLockless(s.a.hlist)) ? 'unhashed' : 'hashed');
      goal((yield* hlistEmptyLockless(s.head)) ? 'empty' : 'not empty');
    }),
  ).toEqual(['empty, unhashed']);
});

/** Walks the list as a reader and notes what it meets. */
function* walk(s: State): Body<void> {
  let met = '';
  for (let node = yield* hlistFirstRcu(s.head); node !== null; node = yield* hlistNextRcu(node)) {
    met += containerOf(node, NODE, 'hlist').path.at(-1);
  }
  goal(`met ${met}`);
}

/** Three tasks change and walk a list on which b and a are, a first. */
function threeNodes(tasks: Record<string, (s: State) => Body<unknown>>) {
  const scenario = scenarioOf(FIELDS, tasks, {
    setup(_kernel, s) {
      hlistAddHead(s.b.hlist, s.head);
      hlistAddHead(s.a.hlist, s.head);
    },
  });
  return programOf(scenario, 'v');
}

function expectExact(made: ReturnType<typeof threeNodes>): void {
  const found = compare(made);
  expect(found.faults).toEqual([]);
  expect(found).toMatchObject({ executions: found.traces, missing: [], repeated: [] });
}

test('a reader who stands on a node that is unlinked finds its way on', () => {
  const made = threeNodes({
    reader: walk,
    *writer(s) {
      yield* hlistDelInitRcu(s.a.hlist);
    },
  });
  expectExact(made);
  expect(outcomes(made)).toEqual(['met ab', 'met b']);
});

test('a reader may meet a node that is being added, or not', () => {
  const made = threeNodes({
    reader: walk,
    *writer(s) {
      yield* hlistAddHeadRcu(s.c.hlist, s.head);
    },
  });
  expectExact(made);
  expect(outcomes(made)).toEqual(['met ab', 'met cab']);
});

/** Takes a node off the list, under its lock. */
function* remove(s: State, node: Node): Body<void> {
  yield* mutexLock(s.m);
  yield* hlistDelInitRcu(node.hlist);
  yield* mutexUnlock(s.m);
}

test('deleting neighbours under one lock commutes with nothing but readers who stand there', () => {
  const made = threeNodes({
    reader: walk,
    one: (s) => remove(s, s.a),
    two: (s) => remove(s, s.b),
  });
  expectExact(made);
  expect(outcomes(made)).toEqual(['met ', 'met a', 'met ab', 'met b']);
});

test('random writers under a lock beside readers without one are explored exactly', () => {
  const steps: Record<string, (s: State) => Body<void>> = {
    walk,
    *test(s) {
      goal((yield* hlistUnhashedLockless(s.a.hlist)) ? 'unhashed' : 'hashed');
    },
    *addC(s) {
      yield* mutexLock(s.m);
      yield* hlistAddHeadRcu(s.c.hlist, s.head);
      yield* mutexUnlock(s.m);
    },
    delA: (s) => remove(s, s.a),
    delB: (s) => remove(s, s.b),
    *addUnlocked(s) {
      yield* hlistAddHeadRcu(s.c.hlist, s.head);
    },
    *delAUnlocked(s) {
      yield* hlistDelInitRcu(s.a.hlist);
    },
  };
  const task = array(constantFrom(...Object.keys(steps)), { minLength: 1, maxLength: 2 });
  let compared = 0;
  assert(
    property(array(task, { minLength: 2, maxLength: 3 }), (tasks) => {
      const bodies = tasks.map((names, at) => [
        `t${at}`,
        function* body(s: State): Body<void> {
          for (const name of names) yield* steps[name]!(s);
        },
      ]);
      const made = threeNodes(Object.fromEntries(bodies));
      const found = compareSmall(made);
      if (found === null) return;
      compared += 1;
      expect(found).toMatchObject({ faults: [], missing: [], repeated: [] });
      expect(found.executions).toBe(found.traces);
    }),
    { numRuns: 60, seed: 2 },
  );
  expect(compared).toBeGreaterThan(45);
});

const LISTED = struct('listed', { value: 0, hlist: hlistNode() });
type Listed = InstanceOf<typeof LISTED>;
const SHARED = { ss: srcuStruct(), head: hlistHead(), node: ptr<Listed>() };
type Shared = Instance<typeof SHARED>;

function* reader(s: Shared): Body<void> {
  const index = yield* srcuReadLock(s.ss);
  for (let at = yield* hlistFirstRcu(s.head); at !== null; at = yield* hlistNextRcu(at)) {
    goal(`saw ${containerOf(at, LISTED, 'hlist').value}`);
  }
  yield* srcuReadUnlock(s.ss, index);
}

function setup(kernel: Kernel, s: Shared): void {
  s.node = kernel.runNow(kzalloc(LISTED, GFP_KERNEL));
}

function publish(isRcu: boolean) {
  return check(
    SHARED,
    {
      reader,
      *writer(s) {
        s.node!.value = 7;
        if (isRcu) yield* hlistAddHeadRcu(s.node!.hlist, s.head);
        else hlistAddHead(s.node!.hlist, s.head);
      },
    },
    { setup },
  );
}

test('a published node is seen as it was filled in, without a race', () => {
  expect(violationsOf(publish(true))).not.toContain('data-race listed.value');
  expect(violationsOf(publish(false))).toContain('data-race s.head.first');
});

function reclaim(waits: boolean) {
  return check(
    SHARED,
    {
      reader,
      *writer(s) {
        yield* hlistDelRcu(s.node!.hlist);
        if (waits) yield* synchronizeSrcu(s.ss);
        yield* kfree(s.node);
      },
    },
    {
      setup(kernel, s) {
        setup(kernel, s);
        hlistAddHead(s.node!.hlist, s.head);
      },
    },
  );
}

test('what was published with a pointer is still seen when the node before it is unlinked', () => {
  const fields = { head: hlistHead(), node: ptr<Listed>(), first: embed(NODE), m: mutex() };
  const result = check(
    fields,
    {
      *adder(s) {
        s.node!.value = 7;
        yield* mutexLock(s.m);
        yield* hlistAddHeadRcu(s.node!.hlist, s.head);
        yield* hlistAddHeadRcu(s.first.hlist, s.head);
        yield* mutexUnlock(s.m);
      },
      *remover(s) {
        yield* mutexLock(s.m);
        if (s.first.hlist.isHashed) yield* hlistDelRcu(s.first.hlist);
        yield* mutexUnlock(s.m);
      },
      *looker(s) {
        const node = yield* hlistFirstRcu(s.head);
        // Only a node that the remover's store of the pointer, or the first add, has led to.
        if (node === null || node === s.first.hlist) return;
        goal(`saw ${containerOf(node, LISTED, 'hlist').value}`);
      },
    },
    {
      setup(kernel, s) {
        s.node = kernel.runNow(kzalloc(LISTED, GFP_KERNEL));
      },
      goals: ['saw 7'],
    },
  );
  expect(violationsOf(result)).toEqual([]);
  expect(result).toMatchObject({ verdict: 'clean', complete: true });
});

test('a node that is freed after a grace period is not used after free', () => {
  expect(reclaim(true)).toMatchObject({ verdict: 'clean', complete: true });
  expect(violationsOf(reclaim(false))).toContain('use-after-free listed');
});

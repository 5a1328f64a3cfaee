import { expect, test } from 'vitest';
import { goal } from '../../src/kernel/choose.ts';
import { readOnce } from '../../src/kernel/field.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import {
  intervalTreeEmpty,
  intervalTreeForEach,
  intervalTreeInsert,
  intervalTreeIterFirst,
  intervalTreeIterNext,
  intervalTreeNode,
  intervalTreeRemove,
  intervalTreeRoot,
  type IntervalTreeNode,
} from '../../src/kernel/interval-tree.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { kfree, kzalloc } from '../../src/kernel/slab.ts';
import { containerOf, embed, struct, type Instance } from '../../src/kernel/struct.ts';
import { check, violationsOf } from '../check/small-scenario.ts';
import { outcomes } from '../util/outcomes.ts';
import { small } from '../util/programs.ts';

const RANGE = struct('range', { id: 0, it: intervalTreeNode() });
const FIELDS = {
  root: intervalTreeRoot(),
  a: embed(RANGE),
  b: embed(RANGE),
  m: mutex(),
  flag: 0,
};
type State = Instance<typeof FIELDS>;

function put(s: State, it: IntervalTreeNode, start: number, last: number): void {
  it.start = start;
  it.last = last;
  intervalTreeInsert(it, s.root);
}

/** What happens when one task runs `body`. */
function alone(body: (s: State) => void): string[] {
  return outcomes(
    small(FIELDS, {
      *t(s) {
        yield* readOnce(s, 'flag');
        body(s);
      },
    }),
  );
}

function idsIn(s: State, start: number, last: number): string {
  const names: string[] = [];
  for (const node of intervalTreeForEach(s.root, start, last)) {
    names.push(containerOf(node, RANGE, 'it').path);
  }
  return names.join(' ');
}

test('intervals are found by overlap, their last value included', () => {
  const found = alone((s) => {
    expect(intervalTreeEmpty(s.root)).toBe(true);
    put(s, s.a.it, 10, 19);
    put(s, s.b.it, 15, 15);
    goal([idsIn(s, 19, 30), idsIn(s, 0, 9), idsIn(s, 0, 15), idsIn(s, 20, 99)].join(', '));
    const first = intervalTreeIterFirst(s.root, 0, 99)!;
    expect([first.start, first.last]).toEqual([10, 19]);
    intervalTreeRemove(s.a.it, s.root);
    expect(idsIn(s, 0, 99)).toBe('s.b');
  });
  expect(found).toEqual(['s.a, , s.a s.b, ']);
});

test('inserting twice, removing what is not there, and changing ends warn and do nothing', () => {
  const found = alone((s) => {
    put(s, s.a.it, 1, 2);
    intervalTreeInsert(s.a.it, s.root);
    s.a.it.last = 9;
    intervalTreeRemove(s.b.it, s.root);
    expect(intervalTreeIterNext(s.b.it, 0, 9)).toBe(null);
    expect(s.a.it.last).toBe(2);
  });
  expect(found).toEqual([
    [
      'warn: interval_tree_insert: s.a.it is in a tree already',
      'warn: interval_tree_iter_next: s.b.it is in no tree',
      'warn: interval_tree_remove: s.b.it is not in this tree',
      'warn: s.a.it is changed while it is in an interval tree',
    ].join(', '),
  ]);
});

test('taking out a node while standing on it warns', () => {
  const found = alone((s) => {
    put(s, s.a.it, 1, 2);
    put(s, s.b.it, 2, 3);
    for (const node of intervalTreeForEach(s.root, 0, 9)) intervalTreeRemove(node, s.root);
  });
  expect(found).toEqual(['warn: interval_tree_iter_next: s.a.it is in no tree']);
});

test('a node that is freed while it is in the tree is found by whoever comes past', () => {
  const made = small(FIELDS, {
    *t(s) {
      const range = (yield* kzalloc(RANGE, GFP_KERNEL))!;
      put(s, range.it, 1, 2);
      yield* kfree(range);
      put(s, s.a.it, 3, 4);
    },
  });
  expect(outcomes(made)).toEqual(['use-after-free: range.it is used']);
});

/** What is found when one task inserts while another searches. */
function sideBySide(isLocked: boolean): string[] {
  function* guarded(s: State, body: () => void): Body<void> {
    if (isLocked) yield* mutexLock(s.m);
    else yield* readOnce(s, 'flag');
    body();
    if (isLocked) yield* mutexUnlock(s.m);
  }
  return violationsOf(
    check(FIELDS, {
      insert: (s) => guarded(s, () => put(s, s.a.it, 1, 2)),
      search: (s) => guarded(s, () => intervalTreeIterFirst(s.root, 0, 9)),
    }),
  );
}

test('a search beside an insertion races unless a lock orders them', () => {
  expect(sideBySide(true)).toEqual([]);
  expect(sideBySide(false)).toEqual(['data-race s.root.rb_node']);
});

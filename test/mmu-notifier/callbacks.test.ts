import { expect, test } from 'vitest';
import { EAGAIN } from '../../src/base/errno.ts';
import { fn } from '../../src/kernel/call.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { Machine } from '../../src/mm/machine.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import { VM_READ, VM_WRITE } from '../../src/mm-types/vm-flags.ts';
import type { VmArea } from '../../src/mm-types/vma.ts';
import { setNotifierBehaviour } from '../../src/mmu-notifier/behaviour.ts';
import {
  mmuNotifierChangePte,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeOnlyEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierInvalidateRangeStartNonblock,
} from '../../src/mmu-notifier/invalidate.ts';
import { mmuNotifierInvalidateRange } from '../../src/mmu-notifier/invalidate-range.ts';
import {
  MmuNotifier,
  mmuNotifierRangeUpdateToReadOnly,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import {
  mmuNotifierClearFlushYoung,
  mmuNotifierClearYoung,
  mmuNotifierTestYoung,
} from '../../src/mmu-notifier/young.ts';
import { rangeOf } from '../util/interval-user.ts';
import { runOnMachine } from '../util/machine.ts';

/** What a notifier answers; it writes down everything else. */
interface Answers {
  readonly start?: number;
  readonly isYoung?: boolean;
  readonly hasEnd?: boolean;
}

/** A range in pages. */
function pages(start: number, end: number): string {
  return `${start / 4096}-${end / 4096}`;
}

function writer(log: string[], name: string, answers: Answers = {}): MmuNotifierOps {
  const { start = 0, isYoung = false, hasEnd = true } = answers;
  const age = (what: string) =>
    fn(function* writeYoung(_mn: MmuNotifier, _mm: MmStruct, from: number, to: number) {
      log.push(`${name} ${what} ${pages(from, to)}`);
      return isYoung;
    });
  return {
    invalidateRangeStart: fn(function* writeStart(_mn: MmuNotifier, range: MmuNotifierRange) {
      log.push(`${name} start ${pages(range.start, range.end)} flags ${range.flags}`);
      return start;
    }),
    ...(hasEnd
      ? {
          invalidateRangeEnd: fn(function* writeEnd(_mn: MmuNotifier, range: MmuNotifierRange) {
            log.push(`${name} end ${pages(range.start, range.end)}`);
          }),
        }
      : {}),
    invalidateRange: fn(function* writeRange(
      _mn: MmuNotifier,
      _mm: MmStruct,
      from: number,
      to: number,
    ) {
      log.push(`${name} range ${pages(from, to)}`);
    }),
    changePte: fn(function* writePte(_mn: MmuNotifier, _mm: MmStruct, at: number, pte: number) {
      log.push(`${name} pte ${at / 4096} = ${pte}`);
    }),
    clearFlushYoung: age('clear_flush_young'),
    clearYoung: age('clear_young'),
    testYoung: fn(function* writeTest(_mn: MmuNotifier, _mm: MmStruct, at: number) {
      log.push(`${name} test_young ${at / 4096}`);
      return isYoung;
    }),
  };
}

/** Registers the tables in this order on one mm, runs the body, unregisters; what was found, by kind. */
function withNotifiers(
  tables: readonly MmuNotifierOps[],
  body: (mm: MmStruct) => Body<unknown>,
  prepare: (machine: Machine) => void = () => undefined,
): string[] {
  const { findings } = runOnMachine((machine) => {
    prepare(machine);
    const process = machine.process();
    const mm = process.mm!;
    const notifiers = tables.map((ops) => {
      const mn = allocateStatic(machine, MmuNotifier);
      mn.ops = ops;
      return mn;
    });
    return [
      function* owner() {
        for (const mn of notifiers) yield* mmuNotifierRegister(mn, mm);
        yield* body(mm);
        for (const mn of notifiers) yield* mmuNotifierUnregister(mn, mm);
        yield* process.exit();
      },
    ];
  });
  return findings.map(({ kind, object }) => `${kind} ${object}`);
}

test('start, range and end come newest first, the range before the end; start says that it may block', () => {
  const log: string[] = [];
  const found = withNotifiers([writer(log, 'a'), writer(log, 'b')], function* body(mm) {
    const range = rangeOf(mm, 0, 8192);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
  });
  expect(found).toEqual([]);
  expect(log).toEqual([
    'b start 0-2 flags 1',
    'a start 0-2 flags 1',
    'b range 0-2',
    'b end 0-2',
    'a range 0-2',
    'a end 0-2',
  ]);
});

test('only_end leaves out invalidate_range, which was called under the page-table lock', () => {
  const log: string[] = [];
  withNotifiers([writer(log, 'a')], function* body(mm) {
    const range = rangeOf(mm, 0, 8192);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* mmuNotifierInvalidateRange(mm, 0, 4096);
    yield* mmuNotifierInvalidateRangeOnlyEnd(range);
  });
  expect(log).toEqual(['a start 0-2 flags 1', 'a range 0-1', 'a end 0-2']);
});

test('ranges nest: each has a start and an end of its own', () => {
  const log: string[] = [];
  const found = withNotifiers([writer(log, 'a')], function* body(mm) {
    const [outer, inner] = [rangeOf(mm, 0, 8192), rangeOf(mm, 4096, 8192)];
    yield* mmuNotifierInvalidateRangeStart(outer);
    yield* mmuNotifierInvalidateRangeStart(inner);
    yield* mmuNotifierInvalidateRangeOnlyEnd(inner);
    yield* mmuNotifierInvalidateRangeOnlyEnd(outer);
  });
  expect(found).toEqual([]);
  expect(log).toEqual(['a start 0-2 flags 1', 'a start 1-2 flags 1', 'a end 1-2', 'a end 0-2']);
});

function* refused(mm: MmStruct): Body<void> {
  const range = rangeOf(mm, 0, 4096);
  expect(yield* mmuNotifierInvalidateRangeStartNonblock(range)).toBe(-EAGAIN);
}

test('up to v5.11 nobody is told the end of a refused range, and those that had counted it are owed one', () => {
  const log: string[] = [];
  const refusing = writer(log, 'b', { start: -EAGAIN, hasEnd: false });
  const found = withNotifiers([writer(log, 'a'), refusing], refused);
  expect(log).toEqual(['b start 0-1 flags 0', 'a start 0-1 flags 0']);
  expect(found).toEqual(['invariant mmu_notifier']);
});

test('from v5.12 on everybody with an end is told it at once', () => {
  const log: string[] = [];
  const refusing = writer(log, 'b', { start: -EAGAIN, hasEnd: false });
  const found = withNotifiers([writer(log, 'a'), refusing], refused, (machine) => {
    setNotifierBehaviour(machine, { pairsNonBlockable: true });
  });
  expect(log).toEqual(['b start 0-1 flags 0', 'a start 0-1 flags 0', 'a end 0-1']);
  expect(found).toEqual([]);
});

test('from v5.12 on it is a warning to refuse and to have an end', () => {
  const tables = [writer([], 'a', { start: -EAGAIN })];
  expect(withNotifiers(tables, refused)).toEqual([]);
  const found = withNotifiers(tables, refused, (machine) => {
    setNotifierBehaviour(machine, { pairsNonBlockable: true });
  });
  expect(found).toContain('warn ops->invalidate_range_end');
});

test('refusing a range that may block is a warning, and the caller goes on', () => {
  const log: string[] = [];
  const found = withNotifiers([writer(log, 'a', { start: -EAGAIN })], function* body(mm) {
    const range = rangeOf(mm, 0, 4096);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
  });
  expect(found).toEqual(['warn blockable || ret != -EAGAIN']);
  expect(log).toEqual(['a start 0-1 flags 1', 'a range 0-1', 'a end 0-1']);
});

test('aging asks all and adds up; a mere look stops at the first yes', () => {
  const log: string[] = [];
  const tables = [writer(log, 'a'), writer(log, 'b', { isYoung: true }), writer(log, 'c')];
  withNotifiers(tables, function* body(mm) {
    expect(yield* mmuNotifierClearFlushYoung(mm, 0, 4096)).toBe(true);
    expect(yield* mmuNotifierClearYoung(mm, 4096, 8192)).toBe(true);
    expect(yield* mmuNotifierTestYoung(mm, 8192)).toBe(true);
  });
  expect(log).toEqual([
    'c clear_flush_young 0-1',
    'b clear_flush_young 0-1',
    'a clear_flush_young 0-1',
    'c clear_young 1-2',
    'b clear_young 1-2',
    'a clear_young 1-2',
    'c test_young 2',
    'b test_young 2',
  ]);
});

test('nobody is young where nobody is asked', () => {
  const { findings } = runOnMachine((machine) => {
    const mm = machine.process().mm!;
    return [
      function* owner() {
        expect(yield* mmuNotifierClearFlushYoung(mm, 0, 4096)).toBe(false);
        expect(yield* mmuNotifierClearYoung(mm, 0, 4096)).toBe(false);
        expect(yield* mmuNotifierTestYoung(mm, 0)).toBe(false);
      },
    ];
  });
  expect(findings).toEqual([]);
});

test('change_pte tells everybody the new entry', () => {
  const log: string[] = [];
  withNotifiers([writer(log, 'a'), writer(log, 'b')], function* body(mm) {
    yield* mmuNotifierChangePte(mm, 4096, 7);
  });
  expect(log).toEqual(['b pte 1 = 7', 'a pte 1 = 7']);
});

/** All that is looked at of a mapping. */
function vma(vmFlags: number): VmArea {
  return { vmFlags } as unknown as VmArea;
}

test('a range of one mapping that stays readable may be kept read-only, and no other', () => {
  runOnMachine((machine) => {
    const range = rangeOf(machine.process().mm!, 0, 4096, 'MMU_NOTIFY_PROTECTION_VMA');
    expect(mmuNotifierRangeUpdateToReadOnly(range)).toBe(false);
    expect(mmuNotifierRangeUpdateToReadOnly({ ...range, vma: vma(VM_READ) })).toBe(true);
    expect(mmuNotifierRangeUpdateToReadOnly({ ...range, vma: vma(VM_WRITE) })).toBe(false);
    const cleared = { ...range, vma: vma(VM_READ), event: 'MMU_NOTIFY_CLEAR' } as const;
    expect(mmuNotifierRangeUpdateToReadOnly(cleared)).toBe(false);
    return [];
  });
});

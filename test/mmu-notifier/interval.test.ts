import { expect, test } from 'vitest';
import { EAGAIN, EINTR, EINVAL, ENOMEM, EOVERFLOW } from '../../src/base/errno.ts';
import { ULONG_MAX } from '../../src/base/ulong.ts';
import { fn } from '../../src/kernel/call.ts';
import { mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { downWrite, upWrite } from '../../src/kernel/rwsem.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { Process } from '../../src/mm/process.ts';
import { PAGE_SIZE } from '../../src/mm/vma.ts';
import { mmdrop, mmgrab } from '../../src/mm-types/mm-struct.ts';
import { setNotifierBehaviour } from '../../src/mmu-notifier/behaviour.ts';
import {
  mmuIntervalCheckRetry,
  MmuIntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierInsertLocked,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  type MmuIntervalNotifierOps,
} from '../../src/mmu-notifier/interval.ts';
import {
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierInvalidateRangeStartNonblock,
} from '../../src/mmu-notifier/invalidate.ts';
import { MmuNotifier, type MmuNotifierRange } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import { mirrorOps, newMirror, notifiersOf, rangeOf, type Mirror } from '../util/interval-user.ts';
import { runOnMachine } from '../util/machine.ts';

const ADDRESS = 0x40_0000;
const INTERVAL = { start: ADDRESS, length: PAGE_SIZE };

/** Runs a body with a process that has two pages mapped, and a mirror of nothing; expects no finding. */
function run(
  body: (process: Process, mirror: Mirror) => Body<unknown>,
  options: Parameters<typeof runOnMachine>[1] & {
    notifiers?: Parameters<typeof setNotifierBehaviour>[1];
  } = {},
) {
  return runOnMachine((machine) => {
    setNotifierBehaviour(machine, options.notifiers ?? {});
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, 2 * PAGE_SIZE));
    const mirror = newMirror(machine);
    return [() => body(process, mirror)];
  }, options);
}

test('inserting pins the mm and hands out an odd sequence; removing drops the pin', () => {
  const { findings } = run(function* owner(process, { mni }) {
    const mm = process.mm!;
    expect(yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps)).toBe(0);
    expect(mm.mmCount.value).toBe(2);
    expect([mni.intervalTree.start, mni.intervalTree.last]).toEqual([ADDRESS, ADDRESS + 4095]);
    expect([mni.invalidateSeq, notifiersOf(mm).invalidateSeq]).toEqual([1, 2]);
    yield* mmuIntervalNotifierRemove(mni);
    expect(mm.mmCount.value).toBe(1);
    yield* process.exit();
  });
  expect(findings).toEqual([]);
});

test('an interval that is empty or goes beyond the last address is refused and pins nothing', () => {
  const { findings } = run(function* owner(process, { mni }) {
    const mm = process.mm!;
    for (const interval of [
      { start: ADDRESS, length: 0 },
      { start: 1, length: ULONG_MAX + 1 },
      { start: ULONG_MAX, length: 2 },
    ]) {
      expect(yield* mmuIntervalNotifierInsert(mni, mm, interval, mirrorOps)).toBe(-EOVERFLOW);
    }
    expect(mm.mmCount.value).toBe(1);
    const all = { start: 0, length: ULONG_MAX };
    expect(yield* mmuIntervalNotifierInsert(mni, mm, all, mirrorOps)).toBe(0);
    yield* mmuIntervalNotifierRemove(mni);
    const last = { start: ULONG_MAX, length: 1 };
    expect(yield* mmuIntervalNotifierInsert(mni, mm, last, mirrorOps)).toBe(0);
    yield* mmuIntervalNotifierRemove(mni);
    yield* process.exit();
  });
  expect(findings).toEqual([]);
});

test('only a range that hits the interval is told, and what was read before must be read again', () => {
  const { findings } = run(function* owner(process, mirror) {
    const { mni } = mirror;
    yield* mmuIntervalNotifierInsert(mni, process.mm!, INTERVAL, mirrorOps);
    const seq = yield* mmuIntervalReadBegin(mni);
    yield* process.munmap(ADDRESS + PAGE_SIZE, PAGE_SIZE);
    expect([mirror.hits, mmuIntervalReadRetry(mni, seq)]).toEqual([0, false]);
    expect(notifiersOf(process.mm!).invalidateSeq).toBe(2);
    yield* process.munmap(ADDRESS, PAGE_SIZE);
    expect([mirror.hits, mmuIntervalReadRetry(mni, seq)]).toEqual([1, true]);
    expect(yield* mmuIntervalCheckRetry(mni, seq)).toBe(true);
    const next = yield* mmuIntervalReadBegin(mni);
    expect([next, mmuIntervalReadRetry(mni, next)]).toEqual([3, false]);
    yield* mmuIntervalNotifierRemove(mni);
    yield* process.exit();
  });
  expect(findings).toEqual([]);
});

test('the sequence is odd from the first hit until the last active range ends', () => {
  const { findings } = run(function* owner(process, { mni }) {
    const mm = process.mm!;
    yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps);
    const miss = rangeOf(mm, 0, PAGE_SIZE);
    const hit = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
    const again = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
    const seen: [number, number][] = [];
    const note = () => {
      const { activeInvalidateRanges, invalidateSeq } = notifiersOf(mm);
      seen.push([activeInvalidateRanges, invalidateSeq]);
    };
    yield* mmuNotifierInvalidateRangeStart(miss);
    note();
    yield* mmuNotifierInvalidateRangeStart(hit);
    note();
    yield* mmuNotifierInvalidateRangeStart(again);
    yield* mmuNotifierInvalidateRangeEnd(again);
    note();
    yield* mmuNotifierInvalidateRangeEnd(hit);
    note();
    yield* mmuNotifierInvalidateRangeEnd(miss);
    note();
    expect(seen).toEqual([
      [1, 2],
      [2, 3],
      [2, 3],
      [1, 3],
      [0, 4],
    ]);
    yield* mmuIntervalNotifierRemove(mni);
    yield* process.exit();
  });
  expect(findings).toEqual([]);
});

test('an insertion while the sequence is odd is put off until the last end', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    const [one, two] = [newMirror(machine), newMirror(machine)];
    const mm = process.mm!;
    return [
      function* owner() {
        yield* mmuIntervalNotifierInsert(one.mni, mm, INTERVAL, mirrorOps);
        const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
        yield* mmuNotifierInvalidateRangeStart(range);
        yield* mmuIntervalNotifierInsert(two.mni, mm, INTERVAL, mirrorOps);
        expect([two.mni.invalidateSeq, two.mni.intervalTree.root]).toEqual([3, null]);
        yield* mmuNotifierInvalidateRangeEnd(range);
        expect(two.mni.intervalTree.root).not.toBeNull();
        expect(yield* mmuIntervalReadBegin(two.mni)).toBe(3);
        yield* mmuIntervalNotifierRemove(two.mni);
        yield* mmuIntervalNotifierRemove(one.mni);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
});

test('who reads what was inserted in the middle of an invalidation waits for its end', () => {
  const { findings } = run(function* owner(process, { mni }) {
    const mm = process.mm!;
    yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps);
    yield* mmuIntervalNotifierRemove(mni);
    yield* mmuNotifierInvalidateRangeStart(rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE));
    yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps);
    yield* mmuIntervalReadBegin(mni);
  });
  expect(findings.map(({ kind }) => kind)).toEqual(['deadlock']);
});

test('an insertion while a range is active that hit nothing takes effect at once, as if it were hit', () => {
  const { findings } = run(function* owner(process, { mni }) {
    const mm = process.mm!;
    yield* downWrite(mm.mmapSem);
    expect(yield* mmuIntervalNotifierInsertLocked(mni, mm, INTERVAL, mirrorOps)).toBe(0);
    yield* upWrite(mm.mmapSem);
    yield* mmuIntervalNotifierRemove(mni);
    const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
    yield* mmuNotifierInvalidateRangeStart(range);
    yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps);
    expect([mni.invalidateSeq, notifiersOf(mm).invalidateSeq]).toEqual([3, 3]);
    expect(mni.intervalTree.root).not.toBeNull();
    yield* mmuNotifierInvalidateRangeEnd(range);
    expect(notifiersOf(mm).invalidateSeq).toBe(4);
    yield* mmuIntervalNotifierRemove(mni);
    yield* process.exit();
  });
  expect(findings).toEqual([]);
});

test('removing what waits to be inserted takes it off the list at once', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    const [one, two] = [newMirror(machine), newMirror(machine)];
    const mm = process.mm!;
    return [
      function* owner() {
        yield* mmuIntervalNotifierInsert(one.mni, mm, INTERVAL, mirrorOps);
        const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
        yield* mmuNotifierInvalidateRangeStart(range);
        yield* mmuIntervalNotifierInsert(two.mni, mm, INTERVAL, mirrorOps);
        // It would wait for itself otherwise.
        yield* mmuIntervalNotifierRemove(two.mni);
        yield* mmuNotifierInvalidateRangeEnd(range);
        expect(two.hits).toBe(0);
        yield* mmuIntervalNotifierRemove(one.mni);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
});

test('a notifier that was put off and removed may be inserted again', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    const [one, two] = [newMirror(machine), newMirror(machine)];
    const mm = process.mm!;
    return [
      function* owner() {
        yield* mmuIntervalNotifierInsert(one.mni, mm, INTERVAL, mirrorOps);
        const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
        for (let time = 0; time < 2; time += 1) {
          yield* mmuNotifierInvalidateRangeStart(range);
          yield* mmuIntervalNotifierInsert(two.mni, mm, INTERVAL, mirrorOps);
          yield* mmuIntervalNotifierRemove(two.mni);
          yield* mmuIntervalNotifierInsert(two.mni, mm, INTERVAL, mirrorOps);
          yield* mmuNotifierInvalidateRangeEnd(range);
          expect(two.mni.intervalTree.root).not.toBeNull();
          yield* mmuIntervalNotifierRemove(two.mni);
        }
        yield* mmuIntervalNotifierRemove(one.mni);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
});

test('a removal while the sequence is odd waits for the last end', () => {
  const { findings } = run(function* owner(process, { mni }) {
    yield* mmuIntervalNotifierInsert(mni, process.mm!, INTERVAL, mirrorOps);
    yield* mmuNotifierInvalidateRangeStart(rangeOf(process.mm!, ADDRESS, ADDRESS + PAGE_SIZE));
    yield* mmuIntervalNotifierRemove(mni);
  });
  expect(findings.map(({ kind }) => kind)).toEqual(['deadlock']);
});

test('removing what was never inserted into a tree that may change is a warning', () => {
  const { findings } = run(function* owner(process, { mni }) {
    yield* mmuIntervalNotifierInsert(mni, process.mm!, INTERVAL, mirrorOps);
    yield* mmgrab(process.mm!);
    yield* mmuIntervalNotifierRemove(mni);
    yield* mmuIntervalNotifierRemove(mni);
    yield* process.exit();
  });
  expect(findings[0]?.message).toContain('RB_EMPTY_NODE(&mni->interval_tree.rb)');
});

/** A list notifier that says what it is told. */
function listener(log: string[], startResult = 0, hasEnd = true) {
  const start = fn(function* listenStart(_mn: MmuNotifier, _range: MmuNotifierRange) {
    log.push('list start');
    return startResult;
  });
  const end = fn(function* listenEnd(_mn: MmuNotifier, _range: MmuNotifierRange) {
    log.push('list end');
  });
  return hasEnd
    ? { invalidateRangeStart: start, invalidateRangeEnd: end }
    : { invalidateRangeStart: start };
}

test('a range that must not block and is refused is not active, and nobody on the list is told', () => {
  const log: string[] = [];
  const { findings, machine } = runOnMachine((booted) => {
    const process = booted.process();
    const mirror = newMirror(booted);
    const mn = allocateStatic(booted, MmuNotifier);
    const mm = process.mm!;
    mn.ops = listener(log);
    return [
      function* owner() {
        yield* mmuNotifierRegister(mn, mm);
        yield* mmuIntervalNotifierInsert(mirror.mni, mm, INTERVAL, mirrorOps);
        const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
        yield* mutexLock(mirror.lock);
        expect(yield* mmuNotifierInvalidateRangeStartNonblock(range)).toBe(-EAGAIN);
        yield* mutexUnlock(mirror.lock);
        expect(log).toEqual([]);
        expect(notifiersOf(mm).activeInvalidateRanges).toBe(0);
        expect(yield* mmuNotifierInvalidateRangeStartNonblock(range)).toBe(0);
        yield* mmuNotifierInvalidateRangeEnd(range);
        yield* mmuIntervalNotifierRemove(mirror.mni);
        yield* mmuNotifierUnregister(mn, mm);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
  expect(machine.log).toEqual([]);
  expect(log).toEqual(['list start', 'list end']);
});

test('refusing a range that may block is a warning, and the others are told all the same', () => {
  const refusing: MmuIntervalNotifierOps = {
    invalidate: fn(function* refuse(
      _mni: MmuIntervalNotifier,
      _range: MmuNotifierRange,
      _seq: number,
    ) {
      return false;
    }),
  };
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    const mirror = newMirror(machine);
    const other = allocateStatic(machine, MmuIntervalNotifier);
    return [
      function* owner() {
        yield* mmuIntervalNotifierInsert(other, process.mm!, INTERVAL, refusing);
        yield* mmuIntervalNotifierInsert(mirror.mni, process.mm!, INTERVAL, mirrorOps);
        const range = rangeOf(process.mm!, ADDRESS, ADDRESS + PAGE_SIZE);
        yield* mmuNotifierInvalidateRangeStart(range);
        yield* mmuNotifierInvalidateRangeEnd(range);
        expect(mirror.hits).toBe(1);
        yield* mmuIntervalNotifierRemove(mirror.mni);
        yield* mmuIntervalNotifierRemove(other);
        yield* process.exit();
      },
    ];
  });
  expect(findings.map(({ kind }) => kind)).toEqual(['warn']);
});

test('sleeping in invalidate of a range that must not block is found', () => {
  const sleeping: MmuIntervalNotifierOps = {
    invalidate: fn(function* sleepInIt(
      mni: MmuIntervalNotifier,
      _range: MmuNotifierRange,
      seq: number,
    ) {
      const { mmapSem } = mni.mm!;
      yield* downWrite(mmapSem);
      yield* mmuIntervalSetSeq(mni, seq);
      yield* upWrite(mmapSem);
      return true;
    }),
  };
  const { findings } = run(function* owner(process, { mni }) {
    yield* mmuIntervalNotifierInsert(mni, process.mm!, INTERVAL, sleeping);
    const range = rangeOf(process.mm!, ADDRESS, ADDRESS + PAGE_SIZE);
    yield* mmuNotifierInvalidateRangeStartNonblock(range);
    yield* mmuNotifierInvalidateRangeEnd(range);
    yield* mmuIntervalNotifierRemove(mni);
    yield* process.exit();
  });
  expect(findings.map(({ kind }) => kind)).toContain('sleeping-in-atomic');
});

test('exit tells interval notifiers once that everything goes, and leaves removing to the owner', () => {
  const seen: unknown[] = [];
  const ops: MmuIntervalNotifierOps = {
    invalidate: fn(function* note(mni: MmuIntervalNotifier, range: MmuNotifierRange, seq: number) {
      seen.push([range.event, range.start, range.end, range.flags]);
      yield* mmuIntervalSetSeq(mni, seq);
      return true;
    }),
  };
  const { findings } = run(function* owner(process, { mni }) {
    const mm = process.mm!;
    yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, ops);
    const seq = yield* mmuIntervalReadBegin(mni);
    yield* process.exit();
    // They stay in the tree, so unmapping the rest tells them, too.
    expect(seen).toEqual([
      ['MMU_NOTIFY_RELEASE', 0, ULONG_MAX, 1],
      ['MMU_NOTIFY_UNMAP', 0, ULONG_MAX, 1],
    ]);
    expect(mmuIntervalReadRetry(mni, seq)).toBe(true);
    expect([mm.mmUsers.value, mm.mmCount.value]).toEqual([0, 1]);
    yield* mmuIntervalNotifierRemove(mni);
  });
  expect(findings).toEqual([]);
});

test('the interval notifiers are told before the list', () => {
  const log: string[] = [];
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    const mirror = newMirror(machine);
    const mn = allocateStatic(machine, MmuNotifier);
    mn.ops = listener(log);
    const ops: MmuIntervalNotifierOps = {
      invalidate: fn(function* note(
        mni: MmuIntervalNotifier,
        _range: MmuNotifierRange,
        seq: number,
      ) {
        log.push('interval');
        yield* mmuIntervalSetSeq(mni, seq);
        return true;
      }),
    };
    return [
      function* owner() {
        const mm = process.mm!;
        yield* mmuNotifierRegister(mn, mm);
        yield* mmuIntervalNotifierInsert(mirror.mni, mm, INTERVAL, ops);
        const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
        yield* mmuNotifierInvalidateRangeStart(range);
        yield* mmuNotifierInvalidateRangeEnd(range);
        yield* mmuIntervalNotifierRemove(mirror.mni);
        yield* mmuNotifierUnregister(mn, mm);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
  expect(log).toEqual(['interval', 'list start', 'list end']);
});

test('an insertion into an mm that has ended is -EINVAL; v5.5 looked at the wrong counter', () => {
  for (const insertTests of ['mm_users', 'mm_count'] as const) {
    const { findings } = run(
      function* owner(process, { mni }) {
        const mm = process.mm!;
        yield* mmgrab(mm);
        // So that the mm is ready for it.
        yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps);
        yield* mmuIntervalNotifierRemove(mni);
        yield* process.exit();
        const error = yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps);
        expect(error).toBe(insertTests === 'mm_users' ? -EINVAL : 0);
        if (error === 0) yield* mmuIntervalNotifierRemove(mni);
        yield* mmdrop(mm);
      },
      { notifiers: { insertTests } },
    );
    expect(findings.map(({ object }) => object)).toEqual(
      insertTests === 'mm_users' ? ['atomic_read(&mm->mm_users) <= 0'] : ['mirror'],
    );
  }
});

test('the first insertion may fail with -ENOMEM or -EINTR, and nothing has changed', () => {
  for (const [error, options] of [
    [-ENOMEM, { budget: { allocations: 1 }, outcomes: [1] }],
    [-EINTR, { budget: { signals: 1 }, outcomes: [1] }],
  ] as const) {
    const { findings } = run(function* owner(process, { mni }) {
      const mm = process.mm!;
      expect(yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps)).toBe(error);
      expect([mm.mmCount.value, mm.mmuNotifierMm]).toEqual([1, null]);
      yield* process.exit();
    }, options);
    expect(findings).toEqual([]);
  }
});

test('the sequence wraps, and who waits for it is let go all the same', () => {
  const { findings } = run(function* owner(process, { mni }) {
    const mm = process.mm!;
    yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps);
    notifiersOf(mm).invalidateSeq = ULONG_MAX - 1;
    const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
    yield* mmuNotifierInvalidateRangeStart(range);
    expect([mni.invalidateSeq, notifiersOf(mm).invalidateSeq]).toEqual([ULONG_MAX, ULONG_MAX]);
    yield* mmuNotifierInvalidateRangeEnd(range);
    expect(notifiersOf(mm).invalidateSeq).toBe(0);
    expect(yield* mmuIntervalReadBegin(mni)).toBe(ULONG_MAX);
    yield* mmuIntervalNotifierRemove(mni);
    yield* mmuIntervalNotifierInsert(mni, mm, INTERVAL, mirrorOps);
    expect(mni.invalidateSeq).toBe(ULONG_MAX);
    yield* mmuIntervalNotifierRemove(mni);
    yield* process.exit();
  });
  expect(findings).toEqual([]);
});

test('a start that the list refuses leaves the range active; a switch undoes it', () => {
  for (const undoesIntervals of [false, true]) {
    const { findings } = runOnMachine((machine) => {
      setNotifierBehaviour(machine, { undoesIntervals });
      const process = machine.process();
      const mirror = newMirror(machine);
      const mn = allocateStatic(machine, MmuNotifier);
      mn.ops = listener([], -EAGAIN, false);
      return [
        function* owner() {
          const mm = process.mm!;
          yield* mmuNotifierRegister(mn, mm);
          yield* mmuIntervalNotifierInsert(mirror.mni, mm, INTERVAL, mirrorOps);
          const range = rangeOf(mm, ADDRESS, ADDRESS + PAGE_SIZE);
          expect(yield* mmuNotifierInvalidateRangeStartNonblock(range)).toBe(-EAGAIN);
          expect(notifiersOf(mm).activeInvalidateRanges).toBe(undoesIntervals ? 0 : 1);
          yield* mmuIntervalReadBegin(mirror.mni);
          yield* mmuIntervalNotifierRemove(mirror.mni);
          yield* mmuNotifierUnregister(mn, mm);
          yield* process.exit();
        },
      ];
    });
    expect(findings.map(({ kind }) => kind)).toEqual(undoesIntervals ? [] : ['deadlock']);
  }
});

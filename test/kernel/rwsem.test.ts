import { describe, expect, test } from 'vitest';
import { atomic, atomicInc } from '../../src/kernel/atomic.ts';
import { goal } from '../../src/kernel/choose.ts';
import { mutex, mutexLock, mutexUnlock } from '../../src/kernel/mutex.ts';
import {
  downgradeWrite,
  downRead,
  downReadInterruptible,
  downReadKillable,
  downReadTrylock,
  downWrite,
  downWriteInterruptible,
  downWriteKillable,
  downWriteTrylock,
  rwsem,
  rwsemIsLocked,
  upRead,
  upWrite,
  type RwSemaphore,
} from '../../src/kernel/rwsem.ts';
import { expectTraces } from '../util/exact.ts';
import { outcomes } from '../util/outcomes.ts';
import { same, small } from '../util/programs.ts';

interface Shared {
  readonly sem: RwSemaphore;
}

const plain = { sem: rwsem() };
const fair = { sem: rwsem({ fair: true }) };

function* reader({ sem }: Shared) {
  yield* downRead(sem);
  yield* upRead(sem);
}

function* writer({ sem }: Shared) {
  yield* downWrite(sem);
  yield* upWrite(sem);
}

function* triesToRead({ sem }: Shared) {
  const got = yield* downReadTrylock(sem);
  goal(got ? 'reads' : 'cannot read');
  if (got) yield* upRead(sem);
}

function* triesToWrite({ sem }: Shared) {
  const got = yield* downWriteTrylock(sem);
  goal(got ? 'writes' : 'cannot write');
  if (got) yield* upWrite(sem);
}

function* downgrades({ sem }: Shared) {
  yield* downWrite(sem);
  yield* downgradeWrite(sem);
  yield* upRead(sem);
}

function* killableReader({ sem }: Shared) {
  const error = yield* downReadKillable(sem);
  goal(`error ${error}`);
  if (error === 0) yield* upRead(sem);
}

function* killableWriter({ sem }: Shared) {
  const error = yield* downWriteKillable(sem);
  goal(`error ${error}`);
  if (error === 0) yield* upWrite(sem);
}

function* readsThenWrites({ sem }: Shared) {
  yield* downRead(sem);
  yield* downWrite(sem);
}

function* nested({ sem }: Shared) {
  yield* downRead(sem);
  yield* downRead(sem);
  yield* upRead(sem);
  yield* upRead(sem);
}

test('readers do not know of each other', () => {
  expectTraces(small(plain, same(3, reader)), 1);
});

test('n writers have n! orders', () => {
  expectTraces(small(plain, same(3, writer)), 6);
});

test('each of n readers comes before the writer or after it', () => {
  expectTraces(small(plain, { ...same(3, reader), writer }), 8);
});

test('a reader has three places beside two writers', () => {
  expectTraces(small(plain, { reader, one: writer, two: writer }), 6);
});

test('readers that are inside together are all waited for', () => {
  // Both before, either before the writer and the other after, or both after; what they do inside
  // ties them to each other but leaves the writer its four places.
  const program = small(
    { ...plain, x: atomic(0) },
    {
      *one({ sem, x }) {
        yield* downRead(sem);
        yield* atomicInc(x);
        yield* upRead(sem);
      },
      two: reader,
      writer,
    },
  );
  expectTraces(program, 4);
});

test('a trylock for reading succeeds beside readers', () => {
  const program = small(plain, { reader, triesToRead });
  expectTraces(program, 1);
  expect(outcomes(program)).toEqual(['reads']);
});

test('a trylock for reading comes before the writer, while it writes, or after', () => {
  const program = small(plain, { writer, triesToRead });
  expectTraces(program, 3);
  expect(outcomes(program)).toEqual(['cannot read', 'reads']);
});

test('a trylock for reading that finds a reader and no writer knows nothing of the reader', () => {
  // The writer before or after the reader; the trylock before, while it writes, or after.
  expectTraces(small(plain, { writer, reader, triesToRead }), 6);
});

test('a trylock for writing comes before the reader, while it reads, or after', () => {
  const program = small(plain, { reader, triesToWrite });
  expectTraces(program, 3);
  expect(outcomes(program)).toEqual(['cannot write', 'writes']);
});

test('after a downgrade readers come in and writers do not', () => {
  const program = small(plain, { downgrades, triesToRead });
  // Before, while it writes, or after the downgrade.
  expectTraces(program, 3);
  // Before, while it has it, or after.
  expectTraces(small(plain, { downgrades, triesToWrite }), 3);
  expectTraces(small(plain, { downgrades, reader }), 2);
  expectTraces(small(plain, { downgrades, writer }), 2);
});

test('who asks whether it is locked comes before, inside or after', () => {
  const program = small(plain, {
    writer,
    *asks({ sem }) {
      goal((yield* rwsemIsLocked(sem)) ? 'locked' : 'free');
    },
  });
  expectTraces(program, 3);
  expect(outcomes(program)).toEqual(['free', 'locked']);
});

test('a signal ends the wait of a reader only beside a writer', () => {
  const signals = { faults: { signals: 1 } };
  expect(outcomes(small(plain, { reader, waits: killableReader }, signals))).toEqual(['error 0']);
  expect(outcomes(small(plain, { writer, waits: killableReader }, signals))).toEqual([
    'error -4',
    'error 0',
  ]);
  // Without a signal before or after; with one also inside.
  expectTraces(small(plain, { writer, waits: killableReader }, signals), 2 + 3);
});

test('a signal ends the wait of a writer beside anybody', () => {
  const signals = { faults: { signals: 1 } };
  expect(outcomes(small(plain, { reader, waits: killableWriter }, signals))).toEqual([
    'error -4',
    'error 0',
  ]);
  expectTraces(small(plain, { reader, waits: killableWriter }, signals), 2 + 3);
  // The reader, the waiting writer and the other one, the waiting one with or without a signal.
  expect(outcomes(small(plain, { reader, writer, waits: killableWriter }, signals))).toContain(
    'error -4',
  );
});

test('the interruptible forms are named so in a deadlock', () => {
  const program = small(plain, {
    *one({ sem }) {
      yield* downWrite(sem);
      yield* downReadInterruptible(sem);
    },
  });
  expect(outcomes(program)).toEqual(['deadlock: one waits for one']);
  const upgrade = small(plain, {
    *one({ sem }) {
      yield* downRead(sem);
      yield* downWriteInterruptible(sem);
    },
  });
  expect(outcomes(upgrade)).toEqual(['deadlock: one waits for one']);
});

test('a writer waits for all readers, which a deadlock names', () => {
  expect(outcomes(small(plain, { one: readsThenWrites, two: readsThenWrites }))).toEqual([
    'deadlock: one waits for one, two; two waits for one, two',
  ]);
});

test('a reader may read once more while a writer waits', () => {
  const program = small(plain, { nested, writer });
  expect(outcomes(program)).toEqual(['nothing']);
});

describe('a fair one', () => {
  test('has the traces of a plain one where nobody reads inside a section', () => {
    expectTraces(small(fair, same(3, reader)), 1);
    expectTraces(small(fair, same(3, writer)), 6);
    expectTraces(small(fair, { ...same(2, reader), writer }), 4);
  });

  test('deadlocks when a reader reads once more while a writer waits', () => {
    const program = small(fair, { nested, writer });
    // The writer comes first, between the two, or last.
    expectTraces(program, 3);
    expect(outcomes(program)).toEqual([
      'deadlock: nested waits for writer; writer waits for nested',
      'nothing',
    ]);
  });

  test('lets no trylock in while a writer waits', () => {
    const program = small(
      { ...fair, m: mutex() },
      {
        *keeps({ sem, m }) {
          yield* mutexLock(m);
          yield* downRead(sem);
          yield* upRead(sem);
          yield* mutexUnlock(m);
        },
        writer,
        triesToRead,
        triesToWrite,
      },
    );
    expect(outcomes(program)).toContain('cannot read, cannot write');
  });

  test('lets readers in again when the writer has given up', () => {
    const program = small(
      fair,
      {
        *keeps({ sem }) {
          yield* downRead(sem);
        },
        *waits({ sem }) {
          goal(`error ${yield* downWriteKillable(sem)}`);
        },
        reader,
      },
      { faults: { signals: 1 } },
    );
    const seen = outcomes(program);
    expect(seen).toContain("error -4, lock-misuse: still held when task 'keeps' ended");
  });
});

describe('misuse is found:', () => {
  test.each([
    ['up_read', upRead],
    ['up_write', upWrite],
    ['downgrade_write', downgradeWrite],
  ])('%s by who does not hold it', (name, leave) => {
    const program = small(plain, {
      *one({ sem }) {
        yield* leave(sem);
      },
    });
    expect(outcomes(program).join()).toContain(
      `lock-misuse: ${name} by a task that does not hold it for`,
    );
  });

  test('ending the hold of another task', () => {
    const program = small(plain, {
      *one({ sem }) {
        yield* downRead(sem);
      },
      *two({ sem }) {
        yield* upRead(sem);
      },
    });
    expect(outcomes(program).join()).toContain('up_read by a task that does not hold it');
  });

  test('leaving with it held', () => {
    const program = small(plain, {
      *one({ sem }) {
        yield* downRead(sem);
      },
    });
    expect(outcomes(program)).toEqual(["lock-misuse: still held when task 'one' ended"]);
  });
});

import { expect, test } from 'vitest';
import { fn } from '../../../src/kernel/call.ts';
import { mutex, mutexLock, mutexUnlock, type Mutex } from '../../../src/kernel/mutex.ts';
import { Operation } from '../../../src/kernel/operation.ts';
import { made } from '../../../src/kernel/operation.ts';
import { downRead, downWrite, rwsem, upRead, upWrite } from '../../../src/kernel/rwsem.ts';
import { running } from '../../../src/kernel/running.ts';
import {
  srcuReadLock,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
} from '../../../src/kernel/srcu.ts';
import { check, messagesOf, violationsOf } from '../small-scenario.ts';

const fields = { a: mutex(), b: mutex(), c: mutex() };

const nested = fn(function* nested(outer: Mutex, inner: Mutex) {
  yield* mutexLock(outer);
  yield* mutexLock(inner);
  yield* mutexUnlock(inner);
  yield* mutexUnlock(outer);
});

test('two locks taken in both orders are a cycle, named by the locks', () => {
  const result = check(fields, {
    *open(s) {
      yield* nested(s.a, s.b);
    },
    *munmap(s) {
      yield* nested(s.b, s.a);
    },
  });
  expect(violationsOf(result)).toEqual(['deadlock s.a, s.b']);
  expect(messagesOf(result)).toEqual([
    'munmap waits for s.a held by open, which waits for s.b held by munmap',
  ]);
  expect(result.executions).toBe(3);
});

test('two locks taken in one order are clean', () => {
  const result = check(fields, {
    *open(s) {
      yield* nested(s.a, s.b);
    },
    *munmap(s) {
      yield* nested(s.a, s.b);
    },
  });
  expect(result.verdict).toBe('clean');
});

test('a cycle of three is reported once, without those who wait behind it', () => {
  const result = check(fields, {
    *one(s) {
      yield* nested(s.a, s.b);
    },
    *two(s) {
      yield* nested(s.b, s.c);
    },
    *three(s) {
      yield* nested(s.c, s.a);
    },
    *four(s) {
      yield* nested(s.a, s.a);
    },
  });
  expect(violationsOf(result)).toContain('deadlock s.a, s.b, s.c');
  expect(violationsOf(result)).toContain('deadlock s.a');
  expect(messagesOf(result)).toContain('four waits for s.a, which it holds itself');
});

test('equal tasks that swap their parts make one finding', () => {
  const result = check(fields, {
    *one(s) {
      yield* nested(s.a, s.b);
    },
    *two(s) {
      yield* nested(s.b, s.a);
    },
    *three(s) {
      yield* nested(s.b, s.a);
    },
  });
  expect(violationsOf(result)).toEqual(['deadlock s.a, s.b']);
});

test('a writer that waits for a reader which waits for the writer is a cycle', () => {
  const result = check(
    { sem: rwsem(), lock: mutex() },
    {
      *reader(s) {
        yield* downRead(s.sem);
        yield* mutexLock(s.lock);
        yield* mutexUnlock(s.lock);
        yield* upRead(s.sem);
      },
      *innocent(s) {
        yield* downRead(s.sem);
        yield* upRead(s.sem);
      },
      *writer(s) {
        yield* mutexLock(s.lock);
        yield* downWrite(s.sem);
        yield* upWrite(s.sem);
        yield* mutexUnlock(s.lock);
      },
    },
  );
  expect(violationsOf(result)).toEqual(['deadlock s.lock, s.sem']);
});

test('a grace period waited for inside its own read section is a wait for oneself', () => {
  const result = check(
    { srcu: srcuStruct() },
    {
      *release(s) {
        const index = yield* srcuReadLock(s.srcu);
        yield* synchronizeSrcu(s.srcu);
        yield* srcuReadUnlock(s.srcu, index);
      },
    },
  );
  expect(violationsOf(result)).toEqual(['deadlock s.srcu']);
  expect(messagesOf(result)).toEqual(['release waits for s.srcu, which it holds up itself']);
});

test('a lock whose holder has ended is waited for in vain', () => {
  const result = check(fields, {
    *one(s) {
      yield* mutexLock(s.a);
    },
    *two(s) {
      yield* mutexLock(s.a);
      yield* mutexUnlock(s.a);
    },
  });
  expect(violationsOf(result)).toEqual(['lock-misuse s.a', 'deadlock s.a']);
  expect(messagesOf(result)[1]).toBe('two waits for s.a held by one, which has ended');
});

/** Sleeps until somebody wakes it, which nobody does. */
class Sleep extends Operation<void> {
  override isEnabled(): boolean {
    return false;
  }

  override footprint(): void {
    // Touches nothing that anybody else does.
  }

  perform(): void {
    throw new Error('never enabled');
  }

  describe(): string {
    return 'schedule()';
  }
}
const SLEEP = new Sleep(null);

test('a sleeper that nobody wakes is found by what it waits in', () => {
  const result = check(fields, {
    *sleeper() {
      yield* made(SLEEP);
    },
  });
  expect(violationsOf(result)).toEqual(['deadlock schedule']);
  expect(messagesOf(result)).toEqual(['sleeper waits for schedule and nobody will wake it']);
});

test('a daemon that waits for work at the end is no deadlock', () => {
  const result = check(
    fields,
    {
      *one(s) {
        yield* nested(s.a, s.b);
      },
    },
    {
      setup: () => {
        running.spawn('kworker', 'daemon', null, function* kworker() {
          yield* made(SLEEP);
        });
      },
    },
  );
  expect(result.verdict).toBe('clean');
});

test('a task that waits for one that was ended by an oops is no deadlock', () => {
  const result = check(fields, {
    *one(s) {
      yield* mutexLock(s.a);
      running.badPointer('NULL', 'read of x');
    },
    *two(s) {
      yield* nested(s.a, s.b);
    },
  });
  expect(violationsOf(result)).toEqual(['null-dereference NULL']);
});

/** Small programs about one srcu_struct, and the steps they are made of. */
import { atomic, atomicInc, atomicRead } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { goal } from '../../src/kernel/choose.ts';
import { mutex } from '../../src/kernel/mutex.ts';
import type { Body } from '../../src/kernel/operation.ts';
import {
  callSrcu,
  rcuHead,
  srcuBarrier,
  srcuReadLock,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
  type RcuHead,
} from '../../src/kernel/srcu.ts';
import { struct, type InstanceOf } from '../../src/kernel/struct.ts';
import { small } from './programs.ts';

/** What every program here shares; not all use all. */
export const FIELDS = {
  ss: srcuStruct(),
  other: srcuStruct(),
  a: rcuHead(),
  b: rcuHead(),
  m: mutex(),
  ran: atomic(0),
};
export const STATE = struct('s', FIELDS);
export type State = InstanceOf<typeof STATE>;

/** Programs of these tasks; `t0@1` runs on CPU 1. */
export function program(tasks: Record<string, (s: State) => Body<unknown>>) {
  const cpus: Record<string, number> = {};
  for (const name of Object.keys(tasks)) {
    const cpu = name.split('@')[1];
    if (cpu !== undefined) cpus[name] = Number(cpu);
  }
  return small(FIELDS, tasks, { cpus });
}

export const note = fn(function* note(head: RcuHead) {
  yield* atomicInc((head.container as State).ran);
});

export function* section(s: State): Body<void> {
  const index = yield* srcuReadLock(s.ss);
  yield* srcuReadUnlock(s.ss, index);
}

export function* synchronize(s: State): Body<void> {
  yield* synchronizeSrcu(s.ss);
}

export function* barrier(s: State): Body<void> {
  yield* srcuBarrier(s.ss);
}

export function* queueA(s: State): Body<void> {
  yield* callSrcu(s.ss, s.a, note);
}

/** Notes whether the callback has run once `wait` has returned. */
export function* after(s: State, wait: (s: State) => Body<void>): Body<void> {
  yield* wait(s);
  goal((yield* atomicRead(s.ran)) === 0 ? 'has not run' : 'has run');
}

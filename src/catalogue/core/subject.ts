/**
 * What scenarios of the core share: a process with one mapping, its mm_struct pinned throughout, a
 * subscriber on it, and tasks that do one thing to them.
 */
import type { Scenario, ScenarioDefinition, TaskDefinition } from '../../check/scenario.ts';
import {
  Device,
  deviceFault,
  deviceOps,
  deviceRegister,
  subscriberGet,
  subscriberIsFrozen,
  subscriberOps,
  subscriberPut,
  type Subscriber,
} from '../../drivers/subscriber/index.ts';
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { isErr } from '../../kernel/err-ptr.ts';
import { running } from '../../kernel/running.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { reportBroken } from '../../mmu-notifier/detector/invariant.ts';
import type { MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { defineScenario } from '../define-scenario.ts';
import { mmdrop, mmgetNotZero, mmgrab, mmput, type MmStruct } from '../../mm-types/mm-struct.ts';

/** Where the one page is mapped that scenarios unmap; most never touch it. */
export const ADDRESS = 0x40_0000;

export interface Subject {
  readonly process: Process;
  /** Pinned until {@link unpin}: it may be looked at after exit. */
  readonly mm: MmStruct;
  /** What set-up got, with as many users as it was told; null for none. */
  readonly first: Subscriber | null;
}

/** A process with a mapping and a subscriber of `ops` that has `users`. For set-up. */
export function subject(
  machine: Machine,
  users: number,
  ops: MmuNotifierOps = subscriberOps,
): Subject {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
  machine.runNow(mmgrab(mm));
  let first: Subscriber | null = null;
  for (let at = 0; at < users; at += 1) {
    first = machine.runNow(subscriberGet(mm, ops)) as Subscriber;
  }
  return { process, mm, first };
}

/** Drops the pin. For `finally`. */
export function* unpin({ mm }: Subject) {
  yield* mmdrop(mm);
}

type SubjectTask = TaskDefinition<Subject>;

/** Gives one user of the first subscriber back. */
export const put: SubjectTask = {
  *run({ first }) {
    yield* subscriberPut(first!);
  },
};

const getAndPut = fn(function* getAndPut({ mm, first }: Subject) {
  const s = yield* subscriberGet(mm);
  if (isErr(s)) {
    goal('get failed');
    return;
  }
  goal(s === first ? 'get took the one that is there' : 'get made another');
  yield* subscriberPut(s);
});

/** A thread of the process gets the subscriber and puts it; the process does not exit meanwhile. */
export const get: SubjectTask = {
  *run(state) {
    yield* getAndPut(state);
  },
};

/** The same from outside: a kernel thread that has only mm_count must take the mm into use first. */
export const getFromOutside: SubjectTask = {
  *run(state) {
    if (!(yield* mmgetNotZero(state.mm))) {
      goal('get came too late');
      return;
    }
    const s = yield* subscriberGet(state.mm);
    // Perhaps the last use: then exit, and with it release, runs here.
    yield* mmput(state.mm);
    if (isErr(s)) return;
    goal(
      (yield* subscriberIsFrozen(s)) ? 'exit was before the put' : 'exit was not before the put',
    );
    yield* subscriberPut(s);
  },
};

export const munmap: SubjectTask = {
  *run({ process }) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
};

export const exit: SubjectTask = {
  *run({ process }) {
    yield* process.exit();
  },
};

export interface DeviceState extends Subject {
  readonly device: Device;
}

/** A device that translates the page at ADDRESS, which is there. */
export function withDevice(machine: Machine, ops: MmuNotifierOps = deviceOps): DeviceState {
  const made = subject(machine, 0);
  machine.runNow(made.process.store(ADDRESS, 1));
  const device = allocateStatic(machine, Device);
  machine.runNow(deviceRegister(device, made.mm, ADDRESS, ops));
  machine.runNow(deviceFault(device, made.mm));
  return { ...made, device };
}

/** Clean as the series makes it. */
export const SERIES_IS_CLEAN = { series: { expect: { verdict: 'clean' } } } as const;

type RaceDefinition = Omit<
  ScenarioDefinition<Machine, Subject>,
  'variants' | 'setup' | 'finally'
> & {
  /** Of the subscriber that is there in the beginning; 0 for none. */
  readonly users: number;
  readonly ops?: MmuNotifierOps;
};

/** Tasks that race on one subscriber, and find nothing wrong as the series makes it. */
export function race({ users, ops, ...rest }: RaceDefinition): Scenario<Machine, Subject> {
  return defineScenario<Subject>({
    ...rest,
    variants: SERIES_IS_CLEAN,
    setup: (machine) => subject(machine, users, ops),
    finally: unpin,
  });
}

export const BOTH_GOALS = ['get took the one that is there', 'get made another'] as const;
export const FREED = {
  name: 'the subscriber was freed',
  calls: 'subscriber_free_notifier',
} as const;
export const CALLED = {
  name: 'the subscriber was called',
  calls: 'subscriber_invalidate_range_start',
} as const;
export const RELEASED = {
  name: 'the subscriber was released',
  calls: 'subscriber_release',
} as const;

/**
 * What a device reads is what the thread beside it has written. Where drivers keep their translations by the
 * callback that comes with each changed entry, only who has made the change knows that it came too late.
 */
export function checkCoherence(isStale: boolean, message: string): void {
  if (!isStale) return;
  reportBroken(running, 'I8b', { object: 'page', message, place: running.place() });
}

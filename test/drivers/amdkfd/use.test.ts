/** amdkfd as programs use it, in every execution: what the GPU writes the program reads, and the reverse. */
import { expect, test } from 'vitest';
import { defineScenario } from '../../../src/catalogue/define-scenario.ts';
import { allDetectors } from '../../../src/check/detector/index.ts';
import { OptimalDpor } from '../../../src/check/optimal-dpor.ts';
import { programOf } from '../../../src/check/scenario.ts';
import {
  AMDKFD_IOC_CREATE_QUEUE,
  AMDKFD_IOC_DESTROY_QUEUE,
  amdkfdSeries,
  KFD_DEVICE,
  kgd2kfdScheduleEvictAndRestoreProcess,
  ringDoorbell,
} from '../../../src/drivers/amdkfd/index.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';

const FROM = 0x40_0000;
const TO = FROM + PAGE_SIZE;
const QUEUE = 0;

interface State {
  readonly process: Process;
  readonly fd: number;
}

type Task = (state: State) => Body<unknown>;

/** What is in both pages when all is over, each pair once. */
function explore(tasks: Readonly<Record<string, Task>>, { hasQueue = true } = {}) {
  const seen = new Set<string>();
  const scenario = defineScenario<State>({
    name: 'use',
    variants: { v: {} },
    setup(machine) {
      const process = machine.process();
      machine.runNow(process.mmap(FROM, 2 * PAGE_SIZE));
      machine.runNow(process.store(FROM, 1));
      machine.runNow(process.store(TO, 2));
      machine.load(amdkfdSeries);
      const fd = machine.runNow<number>(process.open(KFD_DEVICE));
      if (hasQueue) expect(machine.runNow(process.ioctl(fd, AMDKFD_IOC_CREATE_QUEUE))).toBe(QUEUE);
      return { process, fd };
    },
    tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
    *finally({ process }) {
      const from = yield* process.load(FROM);
      const to = yield* process.load(TO);
      seen.add(`${from} ${to}`);
    },
  });
  const messages = new Set<string>();
  const result = new OptimalDpor(programOf(scenario, 'v'), {
    watches: allDetectors(),
    onExecution({ kernel }) {
      for (const { message } of kernel.findings) messages.add(message);
      return false;
    },
  }).run();
  expect(result.isComplete).toBe(true);
  expect([...messages]).toEqual([]);
  return [...seen].toSorted();
}

test('a copy by the GPU reads what the program wrote last, also after fork has shared the pages', () => {
  const seen = explore({
    *program({ process }) {
      const child = yield* process.fork();
      yield* process.store(FROM, 9);
      // Nobody answers a fault of the GPU: what it is to write must be writable.
      yield* process.store(TO, 2);
      if (typeof child !== 'number') yield* child.exit();
      yield* ringDoorbell(QUEUE, { op: 'copy', from: FROM, to: TO });
    },
  });
  expect(seen).toEqual(['9 9']);
});

test('beside a fork the GPU writes for the parent, or faults where nobody answers', () => {
  const seen = explore({
    *program({ process }) {
      const child = yield* process.fork();
      if (typeof child === 'number') return;
      // The child never sees what was written after it was made.
      expect([1, 7]).toContain(yield* child.load(FROM));
      yield* child.exit();
    },
    *doorbell() {
      yield* ringDoorbell(QUEUE, { op: 'write', address: FROM, byte: 7 });
    },
  });
  expect(seen).toEqual(['1 2', '7 2']);
});

test('packets are executed in order, whatever eviction comes in between', () => {
  const seen = explore({
    *program() {
      yield* ringDoorbell(QUEUE, { op: 'write', address: FROM, byte: 7 });
      yield* ringDoorbell(QUEUE, { op: 'copy', from: FROM, to: TO });
    },
    *amdgpu({ process }) {
      yield* kgd2kfdScheduleEvictAndRestoreProcess(process.mm!);
    },
  });
  expect(seen).toEqual(['7 7']);
});

test('once a queue is destroyed the GPU writes nothing of it any more', () => {
  const seen = explore({
    *program({ process, fd }) {
      yield* ringDoorbell(QUEUE, { op: 'write', address: FROM, byte: 7 });
      yield* process.ioctl(fd, AMDKFD_IOC_DESTROY_QUEUE, QUEUE);
      yield* process.store(FROM, 3);
    },
  });
  expect(seen).toEqual(['3 2']);
});

test('a queue that is created while the process is evicted begins when it is restored', () => {
  const seen = explore(
    {
      *program({ process, fd }) {
        const queue = yield* process.ioctl(fd, AMDKFD_IOC_CREATE_QUEUE);
        yield* ringDoorbell(queue, { op: 'write', address: TO, byte: 8 });
      },
      *amdgpu({ process }) {
        yield* kgd2kfdScheduleEvictAndRestoreProcess(process.mm!);
      },
    },
    { hasQueue: false },
  );
  expect(seen).toEqual(['1 8']);
});

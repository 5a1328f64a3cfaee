import { expect, test } from 'vitest';
import { EBADF, EINVAL, ENOMEM, ENOTTY } from '../../../src/base/errno.ts';
import {
  AMDKFD_IOC_CREATE_QUEUE,
  AMDKFD_IOC_GET_VERSION,
  amdkfdSeries,
  amdkfdV53,
  KFD_DEVICE,
} from '../../../src/drivers/amdkfd/index.ts';
import { globals } from '../../../src/drivers/amdkfd/kfd-priv.ts';
import { unloadModule, type ModuleType } from '../../../src/kernel/module.ts';
import { mmuNotifierSynchronize } from '../../../src/mmu-notifier/get-put.ts';
import { runOnMachine } from '../../util/machine.ts';

/** What the module has of the slab as long as it is loaded. */
const WORK_QUEUES = 2;

const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.3', amdkfdV53],
  ['series', amdkfdSeries],
];

test.each(VERSIONS)('%s: a process lives from its first open to its exit', (_, module) => {
  const { findings, machine } = runOnMachine((booted) => {
    const process = booted.process();
    booted.load(module);
    return [
      function* user() {
        const fd = yield* process.open(KFD_DEVICE);
        expect(fd).toBeGreaterThanOrEqual(0);
        const again = yield* process.open(KFD_DEVICE);
        expect(again).not.toBe(fd);
        expect(yield* process.ioctl(fd, AMDKFD_IOC_GET_VERSION)).toBe(1);
        const queue = yield* process.ioctl(fd, AMDKFD_IOC_CREATE_QUEUE);
        expect(yield* process.ioctl(again, AMDKFD_IOC_CREATE_QUEUE)).toBe(queue + 1);
        expect(yield* process.ioctl(fd, 'AMDKFD_IOC_NOTHING')).toBe(-ENOTTY);
        expect(yield* process.mmapFile(fd, null)).toBe(0);
        expect(globals().pasidBitmap).toBe(0b11);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
  // The last reference is dropped after a grace period, and the rest is left to a work.
  expect(machine.slabMemory.size).toBe(WORK_QUEUES);
});

test.each(VERSIONS)(
  '%s: a descriptor is of no use to the process it was passed to',
  (_, module) => {
    const { findings } = runOnMachine((machine) => {
      const process = machine.process();
      machine.load(module);
      return [
        function* user() {
          const fd = yield* process.open(KFD_DEVICE);
          const child = yield* process.fork();
          if (typeof child === 'number') throw new Error('fork failed');
          expect(yield* child.ioctl(fd, AMDKFD_IOC_GET_VERSION)).toBe(-EBADF);
          expect(yield* child.mmapFile(fd, null)).toBe(-EINVAL);
          expect(yield* child.open(KFD_DEVICE)).toBeGreaterThanOrEqual(0);
          expect(yield* child.ioctl(fd, AMDKFD_IOC_GET_VERSION)).toBe(-EBADF);
          yield* process.exit();
          yield* child.exit();
        },
      ];
    });
    expect(findings).toEqual([]);
  },
);

test('series: whatever allocation fails, open says so and nothing is left behind', () => {
  let failures = 0;
  for (let failing = 0; failing < 16; failing += 1) {
    const outcomes = [...Array.from({ length: failing }, () => 0), 1];
    const { findings, machine } = runOnMachine(
      (booted) => {
        const process = booted.process();
        booted.load(amdkfdSeries);
        return [
          function* user() {
            const fd = yield* process.open(KFD_DEVICE);
            if (fd < 0) {
              expect(fd).toBe(-ENOMEM);
              failures += 1;
              // If mapping the trap handler failed, the process is found again.
              expect(yield* process.open(KFD_DEVICE)).toBeGreaterThanOrEqual(0);
            }
            yield* process.exit();
          },
        ];
      },
      { budget: { allocations: 1 }, outcomes },
    );
    expect(findings).toEqual([]);
    expect(machine.slabMemory.size).toBe(WORK_QUEUES);
  }
  // file, process, queue slots, device data, notifier structure, mapping.
  expect(failures).toBe(6);
});

test('series: the module can go when its processes are gone', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    machine.load(amdkfdSeries);
    return [
      function* user() {
        const fd = yield* process.open(KFD_DEVICE);
        expect(yield* unloadModule(amdkfdSeries)).toBeLessThan(0);
        yield* process.close(fd);
        yield* process.exit();
        yield* mmuNotifierSynchronize();
      },
    ];
  });
  expect(findings).toEqual([]);
});

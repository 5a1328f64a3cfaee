/**
 * A device with one translation, to a page to which it holds no reference: only its interval notifier keeps it
 * from reaching a page that is gone. Ask: npx mmulab check docs/examples/interval.ts
 */
import {
  allocateStatic,
  atomicRead,
  containerOf,
  defineScenario,
  downRead,
  embed,
  fn,
} from 'mmulab';
import {
  getUserPages,
  MADV_DONTNEED,
  MmuIntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
} from 'mmulab';
import {
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  PAGE_SIZE,
  ptr,
  putUserPage,
} from 'mmulab';
import { RETRY, retry, spinlock, spinLock, spinUnlock, struct, upRead } from 'mmulab';
import type {
  InstanceOf,
  MmStruct,
  MmuIntervalNotifierOps,
  MmuNotifierRange,
  Page,
  Process,
} from 'mmulab';

const ADDRESS = 0x10000;

const Device = struct('device', {
  mni: embed(MmuIntervalNotifier),
  lock: spinlock(),
  /** The translation. Under `lock`. */
  page: ptr<Page>(),
});
type Device = InstanceOf<typeof Device>;

const deviceInvalidate = fn(function* deviceInvalidate(
  mni: MmuIntervalNotifier,
  _range: MmuNotifierRange,
  seq: number,
) {
  const device = containerOf(mni, Device, 'mni');
  yield* spinLock(device.lock);
  yield* mmuIntervalSetSeq(mni, seq);
  device.page = null;
  yield* spinUnlock(device.lock);
  return true;
});

const deviceOps: MmuIntervalNotifierOps = { invalidate: deviceInvalidate };

/** One attempt to look the page up and to translate to it. */
function* attempt(device: Device, mm: MmStruct, isCareful: boolean) {
  const seq = yield* mmuIntervalReadBegin(device.mni);
  yield* downRead(mm.mmapSem);
  const pages = yield* getUserPages(mm, ADDRESS, 1, true);
  yield* upRead(mm.mmapSem);
  if (typeof pages === 'number') return pages;
  const page = pages[0]!;
  yield* spinLock(device.lock);
  const isStale = isCareful && mmuIntervalReadRetry(device.mni, seq);
  if (!isStale) device.page = page;
  yield* spinUnlock(device.lock);
  yield* putUserPage(page);
  return isStale ? RETRY : 0;
}

/** A fault of the device: 0 or -EFAULT. */
const deviceFault = fn(function* deviceFault(device: Device, mm: MmStruct, isCareful: boolean) {
  return yield* retry('mmu_interval_read_retry', () => attempt(device, mm, isCareful));
});

/** The device uses its translation. */
const deviceAccess = fn(function* deviceAccess(device: Device) {
  yield* spinLock(device.lock);
  if (device.page !== null) yield* atomicRead(device.page.refCount);
  yield* spinUnlock(device.lock);
});

interface State {
  readonly process: Process;
  readonly device: Device;
}

export const scenario = defineScenario<State>({
  name: 'interval',
  variants: {
    careless: {
      about: 'what was looked up is used whatever has happened meanwhile',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page' },
    },
    careful: { expect: { verdict: 'clean' } },
  },
  setup(machine) {
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    machine.runNow(process.store(ADDRESS, 1));
    const device = allocateStatic(machine, Device);
    const interval = { start: ADDRESS, length: PAGE_SIZE };
    machine.runNow(mmuIntervalNotifierInsert(device.mni, process.mm!, interval, deviceOps));
    return { process, device };
  },
  tasks: {
    device: {
      *run({ process, device }, variant) {
        yield* deviceFault(device, process.mm!, variant === 'careful');
        yield* deviceAccess(device);
      },
    },
    drop: {
      *run({ process }) {
        yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
      },
    },
  },
  *finally({ device }) {
    yield* mmuIntervalNotifierRemove(device.mni);
  },
});

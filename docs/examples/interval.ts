/**
 * A device with one translation, to a page to which it holds no reference: only its interval notifier keeps it
 * from reaching a page that is gone. Ask: npx mmulab check docs/examples/interval.ts
 */
import { allocateStatic, containerOf, defineScenario, downRead, embed, fn } from 'mmulab';
import { declareCoherence, deviceStore, deviceTranslations, setDeviceEntry } from 'mmulab';
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
  pageToPfn,
  putUserPage,
} from 'mmulab';
import { RETRY, retry, spinlock, spinLock, spinUnlock, struct, upRead } from 'mmulab';
import type {
  InstanceOf,
  MmStruct,
  MmuIntervalNotifierOps,
  MmuNotifierRange,
  Process,
} from 'mmulab';

const ADDRESS = 0x10000;
/** The device calls the page 0. */
const AT = 0;

const Device = struct('device', {
  mni: embed(MmuIntervalNotifier),
  /** Held to change the translation; the device itself asks nobody. */
  lock: spinlock(),
  translations: deviceTranslations(),
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
  yield* setDeviceEntry(device.translations, AT, null);
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
  const entry = { pfn: pageToPfn(page), isWritable: true };
  yield* spinLock(device.lock);
  const isStale = isCareful && mmuIntervalReadRetry(device.mni, seq);
  if (!isStale) yield* setDeviceEntry(device.translations, AT, entry);
  yield* spinUnlock(device.lock);
  yield* putUserPage(page);
  return isStale ? RETRY : 0;
}

/** A fault of the device: 0 or -EFAULT. */
const deviceFault = fn(function* deviceFault(device: Device, mm: MmStruct, isCareful: boolean) {
  return yield* retry('mmu_interval_read_retry', () => attempt(device, mm, isCareful));
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
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'page', invariant: 'I8a' },
      // Before the page is freed, it is reached where the program has none any more.
      alsoKnown: [{ name: 'I8b', kind: 'invariant', object: 'page' }],
    },
    careful: { expect: { verdict: 'clean' } },
  },
  setup(machine) {
    const process = machine.process();
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE));
    machine.runNow(process.store(ADDRESS, 1));
    const device = allocateStatic(machine, Device);
    const interval = { start: ADDRESS, length: PAGE_SIZE };
    const mm = process.mm!;
    machine.runNow(mmuIntervalNotifierInsert(device.mni, mm, interval, deviceOps));
    // What the driver claims, and what every access of the device is held to.
    const cpuPage = ADDRESS / PAGE_SIZE;
    declareCoherence(device.translations, { first: AT, end: AT + 1, cpuPage, mm, by: 'start' });
    return { process, device };
  },
  tasks: {
    device: {
      *run({ process, device }, variant) {
        yield* deviceFault(device, process.mm!, variant === 'careful');
        yield* deviceStore(device.translations, AT * PAGE_SIZE, 42);
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

/**
 * The sample driver with a device that translates one page of an address space. It holds no reference to the page:
 * what keeps it from reaching a page that is gone is the notifier alone.
 *
 *   device                                  mm
 *   looks the page up
 *                                           start: drops the translation, counts the range
 *                                           changes the page tables, frees the page
 *                                           end: counts down, counts the ends
 *   under the lock: a range in progress, or
 *   an end since the look-up? gives up.
 *   Otherwise puts the translation in, and
 *   the next start will find it
 *
 * The device itself asks nobody: it goes by its entry, and takes no lock.
 */
import { EAGAIN } from '../../base/errno.ts';
import { deviceLoad, deviceStore } from '../../device/access.ts';
import { declareCoherence } from '../../device/coherence.ts';
import { deviceTranslations, setDeviceEntry } from '../../device/translations.ts';
import { mutex, mutexLock, mutexTrylock, mutexUnlock } from '../../kernel/mutex.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { spinLock, spinlock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, embed, struct, type InstanceOf } from '../../kernel/struct.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import {
  MmuNotifier,
  mmuNotifierRangeBlockable,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister } from '../../mmu-notifier/register.ts';
import { subscriber } from './subscriber.ts';

const { fn } = subscriber;

export const Device = struct('device', {
  mn: embed(MmuNotifier),
  /** Held while a command is sent that may take its time. */
  commands: mutex(),
  /** Protects all below. */
  lock: spinlock(),
  /** Ranges that are being invalidated. */
  active: 0,
  /** Ends so far. */
  sequence: 0,
  /** What it translates, in bytes. Constant. */
  address: 0,
  /** The one page that it has is page 0. */
  translations: deviceTranslations(),
});
export type Device = InstanceOf<typeof Device>;

function deviceOf(mn: MmuNotifier): Device {
  return containerOf(mn, Device, 'mn');
}

const deviceRelease = fn(function* deviceRelease(mn: MmuNotifier, _mm: MmStruct) {
  const device = deviceOf(mn);
  yield* spinLock(device.lock);
  // For ever: nothing is mapped any more.
  device.active += 1;
  yield* setDeviceEntry(device.translations, 0, null);
  yield* spinUnlock(device.lock);
});

const deviceInvalidateRangeStart = fn(function* deviceInvalidateRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
) {
  const device = deviceOf(mn);
  yield* spinLock(device.lock);
  device.active += 1;
  if (device.address >= range.start && device.address < range.end) {
    yield* setDeviceEntry(device.translations, 0, null);
  }
  yield* spinUnlock(device.lock);
  return 0;
});

const deviceInvalidateRangeEnd = fn(function* deviceInvalidateRangeEnd(
  mn: MmuNotifier,
  _range: MmuNotifierRange,
) {
  const device = deviceOf(mn);
  yield* spinLock(device.lock);
  device.active -= 1;
  device.sequence += 1;
  yield* spinUnlock(device.lock);
});

export const deviceOps: MmuNotifierOps = {
  release: deviceRelease,
  invalidateRangeStart: deviceInvalidateRangeStart,
  invalidateRangeEnd: deviceInvalidateRangeEnd,
};

/** Sends a command that takes its time before it lets go of the page; where it must not wait for one, it refuses. */
const deviceStartByCommand = fn(function* deviceStartByCommand(
  mn: MmuNotifier,
  range: MmuNotifierRange,
) {
  const { commands } = deviceOf(mn);
  if (mmuNotifierRangeBlockable(range)) yield* mutexLock(commands);
  else if (!(yield* mutexTrylock(commands))) return -EAGAIN;
  yield* deviceInvalidateRangeStart(mn, range);
  yield* mutexUnlock(commands);
  return 0;
});

/** The same, which waits in any case. */
const deviceStartSlowly = fn(function* deviceStartSlowly(mn: MmuNotifier, range: MmuNotifierRange) {
  const { commands } = deviceOf(mn);
  yield* mutexLock(commands);
  yield* deviceInvalidateRangeStart(mn, range);
  yield* mutexUnlock(commands);
  return 0;
});

const deviceEndSlowly = fn(function* deviceEndSlowly(mn: MmuNotifier, range: MmuNotifierRange) {
  const { commands } = deviceOf(mn);
  yield* mutexLock(commands);
  yield* deviceInvalidateRangeEnd(mn, range);
  yield* mutexUnlock(commands);
});

/** For a device that is asked by commands: refuses a range that must not block while one is under way. */
export const deviceCommandOps: MmuNotifierOps = {
  ...deviceOps,
  invalidateRangeStart: deviceStartByCommand,
};
/** Wrong: waits in a start that must not block. */
export const deviceSlowStartOps: MmuNotifierOps = {
  ...deviceOps,
  invalidateRangeStart: deviceStartSlowly,
};
/** Wrong: waits in the end of a range that must not block. */
export const deviceSlowEndOps: MmuNotifierOps = {
  ...deviceOps,
  invalidateRangeEnd: deviceEndSlowly,
};

/** A command of the driver's own. May sleep. */
export const deviceCommand = fn(function* deviceCommand(device: Device) {
  yield* mutexLock(device.commands);
  yield* mutexUnlock(device.commands);
});

/** `invalidate_page`, as it was: the entry of a page was cleared. Called with a page-table lock held or not. */
const deviceInvalidatePage = fn(function* deviceInvalidatePage(
  mn: MmuNotifier,
  _mm: MmStruct,
  start: number,
  end: number,
) {
  const device = deviceOf(mn);
  yield* spinLock(device.lock);
  if (device.address >= start && device.address < end) {
    yield* setDeviceEntry(device.translations, 0, null);
  }
  device.sequence += 1;
  yield* spinUnlock(device.lock);
});

/** The same, where the device is asked by a command that takes its time. */
const deviceInvalidatePageSlowly = fn(function* deviceInvalidatePageSlowly(
  mn: MmuNotifier,
  mm: MmStruct,
  start: number,
  end: number,
) {
  const { commands } = deviceOf(mn);
  yield* mutexLock(commands);
  yield* deviceInvalidatePage(mn, mm, start, end);
  yield* mutexUnlock(commands);
});

/** For kernels that have `invalidate_page`. */
export const devicePageOps: MmuNotifierOps = {
  ...deviceOps,
  invalidateRange: deviceInvalidatePage,
};
/** For hardware that walks the CPU's page tables: it needs no start and no end, only to forget in time. */
export const deviceWalkingOps: MmuNotifierOps = {
  release: deviceRelease,
  invalidateRange: deviceInvalidatePage,
};
export const devicePageSlowOps: MmuNotifierOps = {
  ...deviceOps,
  invalidateRange: deviceInvalidatePageSlowly,
};

/**
 * Lets the device follow the page at `address` of the mm: 0, or what mmu_notifier_register returned. The caller keeps
 * mm_users above zero. May sleep. Pairs with mmu_notifier_unregister.
 */
export const deviceRegister = fn(function* deviceRegister(
  device: Device,
  mm: MmStruct,
  address: number,
  ops: MmuNotifierOps = deviceOps,
) {
  device.mn.ops = ops;
  device.address = address;
  const error = yield* mmuNotifierRegister(device.mn, mm);
  if (error !== 0) return error;
  const page = { first: 0, end: 1, cpuPage: address / PAGE_SIZE, mm };
  // Who hears of each page when its entry is gone already is late by that much.
  const isLate = ops.invalidateRange !== undefined;
  const notifier = device.mn;
  if (isLate) declareCoherence(device.translations, { ...page, by: 'invalidateRange', notifier });
  else declareCoherence(device.translations, { ...page, by: 'start' });
  return error;
});

/**
 * A fault of the device, which wants to write, or only to read: whether it has a translation now. The caller keeps
 * mm_users above zero. May sleep.
 */
export const deviceFault = fn(function* deviceFault(
  device: Device,
  mm: MmStruct,
  isWrite: boolean = true,
) {
  yield* spinLock(device.lock);
  const { active, sequence } = device;
  yield* spinUnlock(device.lock);
  if (active > 0) return false;
  yield* downRead(mm.mmapSem);
  const pages = yield* getUserPages(mm, device.address, 1, isWrite);
  yield* upRead(mm.mmapSem);
  if (typeof pages === 'number') return false;
  const page = pages[0]!;
  yield* spinLock(device.lock);
  const isGood = device.active === 0 && device.sequence === sequence;
  const entry = { pfn: pageToPfn(page), isWritable: isWrite };
  if (isGood) yield* setDeviceEntry(device.translations, 0, entry);
  yield* spinUnlock(device.lock);
  yield* putUserPage(page);
  return isGood;
});

/** The device writes a byte: whether it has a translation that lets it. Never sleeps. */
export const deviceWrite = fn(function* deviceWrite(device: Device, byte: number) {
  return (yield* deviceStore(device.translations, 0, byte)) >= 0;
});

/** The device reads a byte: what it reads, or -1 without a translation. Never sleeps. */
export const deviceRead = fn(function* deviceRead(device: Device) {
  const byte = yield* deviceLoad(device.translations, 0);
  return byte < 0 ? -1 : byte;
});

/**
 * The sample driver with a device that has one translation, to the page at one address. It holds no
 * reference to the page: what keeps it from reaching a page that is gone is the notifier alone.
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
 * Simplified: the lock is held while the device writes, as hardware would be waited for.
 */
import { mutex, mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { spinLock, spinlock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, embed, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { loadByte, storeByte } from '../../mm-types/page-contents.ts';
import type { Page } from '../../mm-types/page.ts';
import {
  MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
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
  /** Where to; NULL for nothing. */
  page: ptr<Page>(),
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
  device.page = null;
  yield* spinUnlock(device.lock);
});

const deviceInvalidateRangeStart = fn(function* deviceInvalidateRangeStart(
  mn: MmuNotifier,
  range: MmuNotifierRange,
) {
  const device = deviceOf(mn);
  yield* spinLock(device.lock);
  device.active += 1;
  if (device.address >= range.start && device.address < range.end) device.page = null;
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

/** `invalidate_page`, as it was: the entry of a page was cleared. Called with a page-table lock held or not. */
const deviceInvalidatePage = fn(function* deviceInvalidatePage(
  mn: MmuNotifier,
  _mm: MmStruct,
  start: number,
  end: number,
) {
  const device = deviceOf(mn);
  yield* spinLock(device.lock);
  if (device.address >= start && device.address < end) device.page = null;
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
  if (isGood) device.page = page;
  yield* spinUnlock(device.lock);
  yield* putUserPage(page);
  return isGood;
});

/** The device writes a byte: whether it has a translation. Never sleeps. */
export const deviceStore = fn(function* deviceStore(device: Device, byte: number) {
  yield* spinLock(device.lock);
  const { page } = device;
  if (page !== null) yield* storeByte(page.contents, 0, byte);
  yield* spinUnlock(device.lock);
  return page !== null;
});

/** The device reads a byte: what it reads, or -1 without a translation. Never sleeps. */
export const deviceLoad = fn(function* deviceLoad(device: Device) {
  yield* spinLock(device.lock);
  const { page } = device;
  const byte = page === null ? -1 : yield* loadByte(page.contents, 0);
  yield* spinUnlock(device.lock);
  return byte;
});

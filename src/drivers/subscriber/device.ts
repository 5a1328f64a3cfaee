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
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { spinLock, spinlock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, embed, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { getUserPages, putUserPage } from '../../mm/gup.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { storeByte } from '../../mm-types/page-contents.ts';
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

/** A fault of the device: whether it has a translation now. The caller keeps mm_users. May sleep. */
export const deviceFault = fn(function* deviceFault(device: Device, mm: MmStruct) {
  yield* spinLock(device.lock);
  const { active, sequence } = device;
  yield* spinUnlock(device.lock);
  if (active > 0) return false;
  yield* downRead(mm.mmapSem);
  const pages = yield* getUserPages(mm, device.address, 1, true);
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

/**
 * A device with a page table of its own that it keeps by notifier callbacks alone: every start drops the range,
 * nothing is put in while a range is open, and what was looked up before the last end is looked up again.
 */
import { fn } from '../../src/kernel/call.ts';
import { downRead, upRead } from '../../src/kernel/rwsem.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { spinLock, spinlock, spinUnlock } from '../../src/kernel/spinlock.ts';
import { containerOf, embed, ptr, struct, type InstanceOf } from '../../src/kernel/struct.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import type { Page } from '../../src/mm-types/page.ts';
import { loadByte, storeByte } from '../../src/mm-types/page-contents.ts';
import { PTE_PRESENT, PTE_WRITE, ptePfn } from '../../src/mm-types/page-table.ts';
import { pfnToPage } from '../../src/mm/frames.ts';
import { getUserPages, putUserPage } from '../../src/mm/gup.ts';
import type { Machine } from '../../src/mm/machine.ts';
import { pteIndex } from '../../src/mm/page-table-walk.ts';
import {
  MmuNotifier,
  type MmuNotifierOps,
  type MmuNotifierRange,
} from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';

interface ShadowEntry {
  readonly page: Page;
  readonly isWritable: boolean;
}

export const ShadowDevice = struct('shadow_device', {
  mn: embed(MmuNotifier),
  /** Protects all below, and is held while the device accesses memory. */
  lock: spinlock(),
  /** Ranges that are open. */
  active: 0,
  /** Ends so far. */
  sequence: 0,
  /** By address. */
  entries: ptr<Map<number, ShadowEntry>>(),
});
export type ShadowDevice = InstanceOf<typeof ShadowDevice>;

function deviceOf(mn: MmuNotifier): ShadowDevice {
  return containerOf(mn, ShadowDevice, 'mn');
}

const ops: MmuNotifierOps = {
  invalidateRangeStart: fn(function* shadowStart(mn: MmuNotifier, range: MmuNotifierRange) {
    const device = deviceOf(mn);
    yield* spinLock(device.lock);
    device.active += 1;
    const entries = device.entries!;
    for (const address of entries.keys()) {
      if (address >= range.start && address < range.end) entries.delete(address);
    }
    yield* spinUnlock(device.lock);
    return 0;
  }),
  invalidateRangeEnd: fn(function* shadowEnd(mn: MmuNotifier, _range: MmuNotifierRange) {
    const device = deviceOf(mn);
    yield* spinLock(device.lock);
    device.active -= 1;
    device.sequence += 1;
    yield* spinUnlock(device.lock);
  }),
  release: fn(function* shadowRelease(mn: MmuNotifier, _mm: MmStruct) {
    const device = deviceOf(mn);
    yield* spinLock(device.lock);
    device.active += 1;
    device.entries!.clear();
    yield* spinUnlock(device.lock);
  }),
};

/** A device on the mm. For set-up. */
export function createShadowDevice(machine: Machine, mm: MmStruct): ShadowDevice {
  const device = allocateStatic(machine, ShadowDevice);
  device.mn.ops = ops;
  device.entries = new Map();
  machine.runNow(mmuNotifierRegister(device.mn, mm));
  return device;
}

/** Takes it off again; for `finally`. */
export function removeShadowDevice(device: ShadowDevice) {
  return mmuNotifierUnregister(device.mn, device.mn.mm!);
}

/** A device fault: puts the page in, unless the range is being invalidated. Returns whether it did. */
export const shadowFault = fn(function* shadowFault(
  device: ShadowDevice,
  mm: MmStruct,
  address: number,
  isWrite: boolean,
) {
  yield* spinLock(device.lock);
  const { active, sequence } = device;
  yield* spinUnlock(device.lock);
  if (active > 0) return false;
  yield* downRead(mm.mmapSem);
  const pages = yield* getUserPages(mm, address, 1, isWrite);
  yield* upRead(mm.mmapSem);
  if (typeof pages === 'number') return false;
  const page = pages[0]!;
  yield* spinLock(device.lock);
  const isGood = device.active === 0 && device.sequence === sequence;
  if (isGood) device.entries!.set(address, { page, isWritable: isWrite });
  yield* spinUnlock(device.lock);
  yield* putUserPage(page);
  return isGood;
});

/** The device reads a byte through its page table: the byte, or -1 if it has no translation. */
export const shadowLoad = fn(function* shadowLoad(device: ShadowDevice, address: number) {
  yield* spinLock(device.lock);
  const entry = device.entries!.get(address);
  const byte = entry === undefined ? -1 : yield* loadByte(entry.page.contents, 0);
  yield* spinUnlock(device.lock);
  return byte;
});

/** The device writes a byte; whether it has a translation that lets it. */
export const shadowStore = fn(function* shadowStore(
  device: ShadowDevice,
  address: number,
  byte: number,
) {
  yield* spinLock(device.lock);
  const entry = device.entries!.get(address);
  const can = entry?.isWritable === true;
  if (can) yield* storeByte(entry.page.contents, 0, byte);
  yield* spinUnlock(device.lock);
  return can;
});

/** Translations that the CPU's page tables do not back, in words. Raw. */
export function staleShadows(device: ShadowDevice, mm: MmStruct): string[] {
  const problems: string[] = [];
  if (device.active !== 0) problems.push(`${device.active} ranges are open`);
  for (const [address, { page, isWritable }] of device.entries!) {
    const table = mm.pageTables.find(address, 1);
    const pte = table === null ? 0 : (table.ptes[pteIndex(address)] as number);
    const isSame = (pte & PTE_PRESENT) !== 0 && pfnToPage(ptePfn(pte)) === page;
    if (!page.memory.isLive) problems.push('the device reaches a page that was freed');
    else if (!isSame) problems.push('the device reaches a page that was replaced');
    else if (isWritable && (pte & PTE_WRITE) === 0) problems.push('the device may write too much');
  }
  return problems;
}

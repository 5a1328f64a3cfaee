/**
 * VT-d as far as shared virtual memory needs it: IOMMUs, and devices behind them that walk the CPU's page tables.
 *
 * A device has a PASID table: an entry for each PASID, with what was cached through it. Invalidations are commands of
 * one IOMMU; they reach devices behind that one. A page request is answered by software, and the device stands still
 * until it is; its driver stops requests before it unbinds.
 *
 * Simplified: the IOTLB of the IOMMU and the TLB of the device are one, flushed by one command; commands are carried out
 * at once; whoever answers page requests does so on the device's own task. Left out: PASID caches, domain ids (the device
 * says it), second-level tables, the queue of page requests and its overflow.
 */
import { EFAULT } from '../../base/errno.ts';
import { flushIotlb, iotlbLoad, iotlbStore, pasidEntry } from '../../device/iotlb.ts';
import { array } from '../../kernel/array.ts';
import { fn, type KernelCallable } from '../../kernel/call.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { perKernel, type Kernel } from '../../kernel/kernel.ts';
import { mutex, mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { running } from '../../kernel/running.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import { spinlock } from '../../kernel/spinlock.ts';
import { ptr, struct, type InstanceOf } from '../../kernel/struct.ts';

const PAGE_SIZE = 4096;
/** PASIDs that a device has room for; 0 is not given out. */
export const PASID_MAX = 3;
/** For pages: all that there are. */
const EVERYTHING = -1;

/** A device wants the page at `address`. */
export interface PageRequest {
  readonly pasid: number;
  readonly address: number;
  readonly isWrite: boolean;
}

export const IntelIommu = struct('intel_iommu', {
  index: 0,
  /** Protects the PASID tables of devices behind it. */
  lock: spinlock(),
});
export type IntelIommu = InstanceOf<typeof IntelIommu>;

export const PciDev = struct('pci_dev', {
  iommu: ptr<IntelIommu>(),
  pasidTable: array(PASID_MAX, pasidEntry()),
  /** Held while a page request of the device is open. */
  request: mutex(),
  /** A bit for each PASID for which it makes requests. Under `request`. */
  enabled: 0,
});
export type PciDev = InstanceOf<typeof PciDev>;

/** Two devices behind the first IOMMU, one behind the second. */
class Hardware {
  readonly iommus: readonly IntelIommu[];
  readonly devices: readonly PciDev[];
  /** Answers page requests: whether the page is there now. Null while nobody does. */
  answer: KernelCallable<[PageRequest], boolean> | null = null;

  constructor(kernel: Kernel) {
    this.iommus = [0, 1].map(() => allocateStatic(kernel, IntelIommu));
    this.devices = [0, 0, 1].map((behind) => {
      const dev = allocateStatic(kernel, PciDev);
      dev.iommu = this.iommus[behind] as IntelIommu;
      return dev;
    });
  }
}

const hardware = perKernel((kernel) => new Hardware(kernel));

/** Device number `index`: 0 and 1 are behind the first IOMMU, 2 behind the second. */
export function pciDev(index: number): PciDev {
  return hardware(running).devices[index] as PciDev;
}

/** Who answers page requests from now on. */
export function setPageRequestHandler(handler: KernelCallable<[PageRequest], boolean> | null) {
  hardware(running).answer = handler;
}

/**
 * A command of `iommu`: flushes what `dev` has cached for the PASID from `address` on, `pages` pages or -1 for all. It
 * reaches only devices behind this IOMMU. Never sleeps.
 */
export const qiFlushPiotlb = fn(function* qiFlushPiotlb(
  iommu: IntelIommu,
  dev: PciDev,
  pasid: number,
  { address, pages }: { readonly address: number; readonly pages: number },
) {
  if (dev.iommu !== iommu) return;
  const entry = dev.pasidTable.get(pasid);
  const first = Math.floor(address / PAGE_SIZE);
  const isAll = pages === EVERYTHING;
  yield* flushIotlb(entry, isAll ? 0 : first, isAll ? Infinity : first + pages);
});

/** Makes a device of the kind that faults on a cached entry without the right, as some that do not walk again. */
export function faultOnCached(dev: PciDev, pasid: number): void {
  dev.pasidTable.get(pasid).faultsOnCached = true;
}

/** Lets the device make page requests for a PASID. May sleep. */
export const startRequests = fn(function* startRequests(dev: PciDev, pasid: number) {
  yield* mutexLock(dev.request);
  dev.enabled |= 1 << pasid;
  yield* mutexUnlock(dev.request);
});

/** The device makes none any more, and has none open when this returns: what a driver does before it unbinds. */
export const stopRequests = fn(function* stopRequests(dev: PciDev, pasid: number) {
  yield* mutexLock(dev.request);
  dev.enabled &= ~(1 << pasid);
  yield* mutexUnlock(dev.request);
});

/** Whether the page is there now. */
const pageRequest = fn(
  function* pageRequest(dev: PciDev, request: PageRequest) {
    yield* mutexLock(dev.request);
    const { answer } = hardware(running);
    const isMade = answer !== null && (dev.enabled & (1 << request.pasid)) !== 0;
    const isGood = isMade && (yield* answer(request));
    yield* mutexUnlock(dev.request);
    return isGood;
  },
  { name: 'page_request' },
);

/** A device that has asked so often, and was told that the page is there each time, asks for ever. */
const REQUESTS_MAX = 3;

const access = fn(
  function* svmAccess(dev: PciDev, pasid: number, address: number, byte: number | null) {
    const entry = dev.pasidTable.get(pasid);
    for (let requests = 0; ; requests += 1) {
      const result = yield* byte === null
        ? iotlbLoad(entry, address)
        : iotlbStore(entry, address, byte);
      if (result !== -EFAULT) return result;
      if (requests === REQUESTS_MAX) {
        warnOn(true, 'the device faults again and again');
        return -EFAULT;
      }
      const isWrite = byte !== null;
      if (!(yield* pageRequest(dev, { pasid, address, isWrite }))) return -EFAULT;
    }
  },
  { name: 'device' },
);

/** The device reads a byte of the address space, and asks for the page if it must: 0 … 255, or -EFAULT. */
export function svmRead(dev: PciDev, pasid: number, address: number) {
  return access(dev, pasid, address, null);
}

/** The device writes a byte: the one that was there, or -EFAULT. */
export function svmWrite(dev: PciDev, pasid: number, address: number, byte: number) {
  return access(dev, pasid, address, byte);
}

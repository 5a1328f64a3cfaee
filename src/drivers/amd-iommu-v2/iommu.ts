/**
 * An AMD IOMMU as far as its second version goes: devices that walk the CPU's page tables, by the root (gcr3) that the
 * driver sets for a PASID, and peripheral page requests (PPR) for pages that are not there.
 *
 * Setting and clearing a root flushes what the device has cached of the PASID, as the commands that follow it do.
 * Simplified: the caches of the IOMMU and of the device are one; commands are carried out at once; a device waits until
 * its request is answered. Left out: the log of requests, and its overflow.
 */
import { EFAULT } from '../../base/errno.ts';
import {
  answerFault,
  awaitAnswer,
  faultQueue,
  reportFault,
  type DeviceFault,
} from '../../device/fault-queue.ts';
import { flushIotlb, iotlbLoad, iotlbStore, pasidEntry, setPasidRoot } from '../../device/iotlb.ts';
import { array } from '../../kernel/array.ts';
import { fn, type KernelCallable } from '../../kernel/call.ts';
import { perKernel, type Kernel } from '../../kernel/kernel.ts';
import { rcuAssignPointer, rcuDereference } from '../../kernel/field.ts';
import { rcuReadLock, rcuReadUnlock, synchronizeRcu } from '../../kernel/rcu.ts';
import { running } from '../../kernel/running.ts';
import { allocateStatic, staticObject } from '../../kernel/slab.ts';
import { spinlock, spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import type { PageTables } from '../../mm-types/page-table.ts';

const PAGE_SIZE = 4096;
/** PASIDs of a device: 0 … 2. */
export const PASID_COUNT = 3;

/** A page request: whose `request.space` is a PASID. */
export type Ppr = DeviceFault;

export const AmdDevice = struct('pci_dev', {
  devid: 0,
  /** The protection domain's, over changes of roots. */
  lock: spinlock(),
  gcr3: array(PASID_COUNT, pasidEntry()),
  requests: faultQueue(),
});
export type AmdDevice = InstanceOf<typeof AmdDevice>;

type PprCallable = KernelCallable<[AmdDevice, Ppr], void>;

const NotifierBlock = struct('notifier_block', { notifierCall: field<PprCallable | null>(null) });
type NotifierBlock = InstanceOf<typeof NotifierBlock>;

/** Who hears of page requests: the driver, while there is one. An atomic chain is read under RCU. */
const PprChain = struct('ppr_notifier', { head: ptr<NotifierBlock>() });

const pprChain = staticObject(PprChain);
const pprBlock = staticObject(NotifierBlock);

class Hardware {
  readonly devices: readonly AmdDevice[];

  constructor(kernel: Kernel) {
    this.devices = [0, 1].map((devid) => {
      const device = allocateStatic(kernel, AmdDevice);
      device.devid = devid;
      return device;
    });
  }
}

const hardware = perKernel((kernel) => new Hardware(kernel));

export function amdDevice(devid: number): AmdDevice {
  return hardware(running).devices[devid] as AmdDevice;
}

/** `amd_iommu_register_ppr_notifier`: who hears of page requests from now on. Called as by an interrupt. */
export const amdIommuRegisterPprNotifier = fn(function* amdIommuRegisterPprNotifier(
  notifier: PprCallable,
) {
  const block = pprBlock(running);
  block.notifierCall = notifier;
  yield* rcuAssignPointer(pprChain(running), 'head', block);
});

/** `amd_iommu_unregister_ppr_notifier`: nobody, once a grace period has passed. May sleep. */
export const amdIommuUnregisterPprNotifier = fn(function* amdIommuUnregisterPprNotifier() {
  yield* rcuAssignPointer(pprChain(running), 'head', null);
  yield* synchronizeRcu();
});

/** The device walks these page tables for the PASID from now on, or none; it has nothing cached. Never sleeps. */
export const amdIommuDomainSetGcr3 = fn(function* amdIommuDomainSetGcr3(
  device: AmdDevice,
  pasid: number,
  root: PageTables | null,
) {
  const entry = device.gcr3.get(pasid);
  yield* spinLock(device.lock);
  yield* setPasidRoot(entry, root);
  yield* flushIotlb(entry, 0, Infinity);
  yield* spinUnlock(device.lock);
});

/** Flushes what the device has cached of [start, end), in bytes. Never sleeps. */
export const amdIommuFlush = fn(function* amdIommuFlush(
  device: AmdDevice,
  pasid: number,
  { start, end }: { readonly start: number; readonly end: number },
) {
  const entry = device.gcr3.get(pasid);
  // One page, or all of the PASID: other ranges have no command.
  if (end - start === PAGE_SIZE) yield* flushIotlb(entry, start / PAGE_SIZE, end / PAGE_SIZE);
  else yield* flushIotlb(entry, 0, Infinity);
});

/** `amd_iommu_complete_ppr`: the device goes on, or gives up. Never sleeps. */
export const amdIommuCompletePpr = fn(function* amdIommuCompletePpr(
  device: AmdDevice,
  ppr: Ppr,
  isThere: boolean,
) {
  yield* answerFault(device.requests, ppr, isThere ? 0 : -EFAULT);
});

/** A device that was told that the page is there, and does not find it, gives up. */
const REQUESTS_MAX = 1;

const access = fn(
  function* amdAccess(device: AmdDevice, pasid: number, address: number, byte: number | null) {
    const entry = device.gcr3.get(pasid);
    for (let requests = 0; ; requests += 1) {
      const result = yield* byte === null
        ? iotlbLoad(entry, address)
        : iotlbStore(entry, address, byte);
      if (result !== -EFAULT || requests === REQUESTS_MAX) return result;
      const request = { address, isWrite: byte !== null, space: pasid };
      const ppr = yield* reportFault(device.requests, request);
      yield* rcuReadLock();
      const block = yield* rcuDereference(pprChain(running), 'head');
      if (block !== null) yield* block.notifierCall!(device, ppr);
      yield* rcuReadUnlock();
      if (block === null) return -EFAULT;
      if ((yield* awaitAnswer(device.requests, ppr)) !== 0) return -EFAULT;
    }
  },
  { name: 'device' },
);

/** The device reads a byte of the address space, and asks for the page if it must: 0 … 255, or -EFAULT. */
export function amdRead(device: AmdDevice, pasid: number, address: number) {
  return access(device, pasid, address, null);
}

/** The device writes a byte: the one that was there, or -EFAULT. */
export function amdWrite(device: AmdDevice, pasid: number, address: number, byte: number) {
  return access(device, pasid, address, byte);
}

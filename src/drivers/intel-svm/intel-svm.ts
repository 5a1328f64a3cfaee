/**
 * intel-svm: a device behind VT-d uses a program's address space by walking its page tables.
 *
 * A driver of such a device binds the address space of the program that opened it: intel_svm_bind_mm gives it a PASID,
 * by which the device names the address space. All devices that share an address space share the PASID, unless one asks
 * for its own (PRIVATE_PASID).
 *
 *     intel_svm { notifier, pasid, devs } ──< intel_svm_dev { dev, users }      one for each device that is bound
 *
 * There is nothing to keep in step but caches: so there is neither start nor end, only invalidate_range, which flushes
 * them. And release: exit takes the notifier off the list before it frees the page tables, and tells nobody of that; by
 * then no device may walk them any more.
 *
 * Modelled: bind and unbind with all error paths, flags and several devices; both callbacks; page requests. Simplified:
 * the driver of the device is a file that binds and unbinds for the program; SUPERVISOR_MODE has no page tables to walk
 * and gets faults. Left out: callbacks of the device's driver on faults, and -EBUSY for other ones than those that it
 * bound with; devices and IOMMUs with limits of their own (-ENOSPC, -EINVAL) or that cannot be enabled; PASID tables that
 * cannot be made; the drain of page requests at unbind that later kernels have in place of the contract.
 *
 * Lock order: pasid_mutex, mmap_sem (registration), `intel_iommu.lock`. Callbacks take none of them.
 */
import { EBUSY, ENOSPC } from '../../base/errno.ts';
import { ulongAdd, ulongSub } from '../../base/ulong.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { setPasidRoot } from '../../device/iotlb.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import type { ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_ATOMIC, GFP_KERNEL, GFP_NOFAIL } from '../../kernel/gfp.ts';
import {
  listAddTailRcu,
  listDelRcu,
  listFirstRcu,
  listForEachEntry,
  listHead,
  listNextRcu,
  listNode,
} from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import type { Body, Yieldable } from '../../kernel/operation.ts';
import { kfreeRcu, rcuHead, rcuReadLock, rcuReadUnlock } from '../../kernel/rcu.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, embed, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { xaAlloc, xaErase, xaLoad, xarray, xaStore } from '../../kernel/xarray.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';
import { PASID_MAX, qiFlushPiotlb, type IntelIommu, type PciDev } from './iommu.ts';

export const intelSvm = moduleText('intel-svm');
const { fn } = intelSvm;

const PAGE_SIZE = 4096;
/** Addresses that a program can have. */
const TASK_PAGES = 2 ** 35;
/** A PASID of its own, and an intel_svm of its own. */
export const SVM_FLAG_PRIVATE_PASID = 1;
/** The kernel's address space. */
export const SVM_FLAG_SUPERVISOR_MODE = 2;

export const IntelSvm = struct('intel_svm', {
  notifier: embed(MmuNotifier),
  /** Not pinned but by the notifier; NULL in supervisor mode. */
  mm: ptr<MmStruct>(),
  /** Of the device that was bound first. */
  iommu: ptr<IntelIommu>(),
  flags: 0,
  pasid: 0,
  /** intel_svm_dev; changed under pasid_mutex, walked under RCU. */
  devs: listHead(),
  /** On global_svm_list. */
  list: listNode(),
});
export type IntelSvm = InstanceOf<typeof IntelSvm>;

export const IntelSvmDev = struct('intel_svm_dev', {
  list: listNode(),
  rcu: rcuHead(),
  dev: ptr<PciDev>(),
  users: 0,
});
export type IntelSvmDev = InstanceOf<typeof IntelSvmDev>;

/** What is different in a version. */
export interface SvmVersion {
  /** The intel_svm that a binding shares, if that can be told before anything is allocated. pasid_mutex is held. */
  readonly find: (binding: Binding) => IntelSvm | null;
  /** Makes the intel_svm of a new binding, or finds it. pasid_mutex is held; may sleep. Pairs with `put`. */
  readonly get: KernelCallable<[Binding], IntelSvm | ErrPtr>;
  /** A binding is gone, and no device may use the PASID if it was the last. pasid_mutex is held; may sleep. */
  readonly put: KernelCallable<[IntelSvm], void>;
  /** Whether a device's caches are flushed through the IOMMU that it is behind, not the one that was bound first. */
  readonly flushesOwnIommu?: boolean;
  /** Whether the size of a range that ends at the last address is computed without overflow. */
  readonly sizesWithoutOverflow?: boolean;
  /** Whether a device that is unbound hears of invalidations until it has nothing any more. */
  readonly tearsDownFirst?: boolean;
  /** Whether a page request of an impossible address is refused before the mm is pinned. */
  readonly checksAddressFirst?: boolean;
}

/** A PASID that is still taken, and by which nobody is found any more. */
export const RETIRED = 'retired';

/** What is to be bound. */
export interface Binding {
  readonly dev: PciDev;
  readonly flags: number;
  /** NULL in supervisor mode. */
  readonly mm: MmStruct | null;
}

export const globals = intelSvm.data({
  /** Held over each bind and unbind. */
  pasidMutex: mutex(),
  globalSvmList: listHead(),
  /** The intel_svm by PASID; 0 is not given out. */
  pasidIdr: xarray<IntelSvm | typeof RETIRED>(),
  version: ptr<SvmVersion>(),
});

export function version(): SvmVersion {
  return globals().version!;
}

export function svmOf(mn: MmuNotifier): IntelSvm {
  return containerOf(mn, IntelSvm, 'notifier');
}

/** The svm's binding of `dev`, or NULL. pasid_mutex is held. */
export function sdevOf(svm: IntelSvm, dev: PciDev): IntelSvmDev | null {
  for (const sdev of listForEachEntry(svm.devs, IntelSvmDev, 'list')) {
    if (sdev.dev === dev) return sdev;
  }
  return null;
}

// ---- the device's tables ----------------------------------------------------------------------

/** What the driver claims: a program's addresses are the device's. */
function declare(svm: IntelSvm, dev: PciDev): void {
  const { mm, notifier, pasid } = svm;
  if (mm === null) return;
  const everything = { first: 0, end: TASK_PAGES, cpuPage: 0, mm };
  declareCoherence(dev.pasidTable.get(pasid), { ...everything, by: 'invalidateRange', notifier });
}

/** `intel_pasid_setup_first_level`: the device walks the program's page tables from now on. */
const intelPasidSetupFirstLevel = fn(function* intelPasidSetupFirstLevel(
  svm: IntelSvm,
  dev: PciDev,
) {
  const { lock } = dev.iommu!;
  yield* spinLock(lock);
  declare(svm, dev);
  yield* setPasidRoot(dev.pasidTable.get(svm.pasid), svm.mm?.pageTables ?? null);
  yield* spinUnlock(lock);
});

/** What the device has cached from `address` on, `pages` pages or -1 for all of it. */
const intelFlushSvmRangeDev = fn(function* intelFlushSvmRangeDev(
  svm: IntelSvm,
  sdev: IntelSvmDev,
  range: { readonly address: number; readonly pages: number },
) {
  const dev = sdev.dev!;
  const iommu = version().flushesOwnIommu === true ? dev.iommu : svm.iommu;
  yield* qiFlushPiotlb(iommu!, dev, svm.pasid, range);
});

const ALL = { address: 0, pages: -1 } as const;

/** `intel_pasid_tear_down_entry`, and a flush of what is left of it: the device has nothing of the PASID any more. */
const tearDown = fn(
  function* tearDown(svm: IntelSvm, sdev: IntelSvmDev) {
    const entry = sdev.dev!.pasidTable.get(svm.pasid);
    yield* setPasidRoot(entry, null);
    yield* intelFlushSvmRangeDev(svm, sdev, ALL);
    withdrawCoherence(entry, 0, TASK_PAGES);
  },
  { name: 'intel_pasid_tear_down_entry' },
);

// ---- callbacks --------------------------------------------------------------------------------

/** Each device that is bound, in the middle of a read section of RCU. */
function* eachDevice(svm: IntelSvm, act: (sdev: IntelSvmDev) => Yieldable<void>): Body<void> {
  yield* rcuReadLock();
  let node = yield* listFirstRcu(svm.devs);
  while (node !== null) {
    yield* act(containerOf(node, IntelSvmDev, 'list'));
    node = yield* listNextRcu(node, svm.devs);
  }
  yield* rcuReadUnlock();
}

/** Pages of [start, end): with the whole address space the sum wraps, and there are none (B-37). */
function pagesOf(start: number, end: number): number {
  const size = ulongSub(end, start);
  if (version().sizesWithoutOverflow === true) return Math.ceil(size / PAGE_SIZE);
  return Math.floor(ulongAdd(size, PAGE_SIZE - 1) / PAGE_SIZE);
}

/** Flushes [start, end) on all devices. May be called under a page-table lock. */
export const intelInvalidateRange = fn(function* intelInvalidateRange(
  mn: MmuNotifier,
  _mm: MmStruct,
  start: number,
  end: number,
) {
  const svm = svmOf(mn);
  const range = { address: start, pages: pagesOf(start, end) };
  yield* eachDevice(svm, (sdev) => intelFlushSvmRangeDev(svm, sdev, range));
});

/**
 * The mm ends: the devices fault from now on. Takes no lock: pasid_mutex is held by who unregisters, and waits for this.
 * The binding stays until the driver unbinds.
 */
export const intelMmRelease = fn(function* intelMmRelease(mn: MmuNotifier, _mm: MmStruct) {
  const svm = svmOf(mn);
  yield* eachDevice(svm, (sdev) => tearDown(svm, sdev));
});

// ---- bindings ---------------------------------------------------------------------------------

/** Binds `dev`, which the svm has not bound yet. pasid_mutex is held. */
export const svmAddDevice = fn(function* svmAddDevice(svm: IntelSvm, sdev: IntelSvmDev) {
  yield* intelPasidSetupFirstLevel(svm, sdev.dev!);
  yield* listAddTailRcu(sdev.list, svm.devs);
});

/** Takes a binding away that has no user left. pasid_mutex is held. */
export const svmRemoveDevice = fn(function* svmRemoveDevice(svm: IntelSvm, sdev: IntelSvmDev) {
  const isLate = version().tearsDownFirst === true;
  if (!isLate) yield* listDelRcu(sdev.list);
  yield* tearDown(svm, sdev);
  if (isLate) yield* listDelRcu(sdev.list);
  yield* kfreeRcu(sdev.rcu);
});

/** A PASID for the svm: 0, or -ENOSPC or -ENOMEM. May sleep. */
export const pasidAlloc = fn(function* pasidAlloc(svm: IntelSvm) {
  const limits = { min: 1, max: PASID_MAX - 1 };
  const pasid = yield* xaAlloc(globals().pasidIdr, svm, limits, GFP_KERNEL);
  if (pasid < 0) return pasid === -EBUSY ? -ENOSPC : pasid;
  svm.pasid = pasid;
  return 0;
});

/** The svm of a PASID, or NULL. Needs no lock. */
export const pasidLookup = fn(function* pasidLookup(pasid: number) {
  const svm = yield* xaLoad(globals().pasidIdr, pasid);
  return svm === RETIRED ? null : svm;
});

/** Nobody is to find the svm, which waits for its grace period; the PASID stays taken until then. Never sleeps. */
export const pasidRetire = fn(function* pasidRetire(svm: IntelSvm) {
  yield* xaStore(globals().pasidIdr, svm.pasid, RETIRED, GFP_ATOMIC | GFP_NOFAIL);
});

/** Never sleeps. */
export const pasidFree = fn(function* pasidFree(svm: IntelSvm) {
  yield* xaErase(globals().pasidIdr, svm.pasid);
});

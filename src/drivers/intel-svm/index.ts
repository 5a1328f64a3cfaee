/**
 * intel-svm by version: the modules that a scenario can load, with a file by which programs bind devices.
 */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { registerChrdev, unregisterChrdev, type File } from '../../kernel/file.ts';
import { GFP_KERNEL, GFP_NOFAIL } from '../../kernel/gfp.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { struct, type InstanceOf } from '../../kernel/struct.ts';
import { xaErase, xaFind, xaLoad, xarray, xaStore } from '../../kernel/xarray.ts';
import { mmuNotifierSynchronizeV317 } from '../../mmu-notifier/before-series.ts';
import { svmV53 } from './before.ts';
import { intelSvmBindMm, intelSvmUnbindMm } from './bind.ts';
import { svmConverted, svmMerged } from './converted.ts';
import { globals, intelSvm, type SvmVersion } from './intel-svm.ts';
import { PASID_MAX, pciDev, setPageRequestHandler, startRequests, stopRequests } from './iommu.ts';
import { prqEventThread } from './page-request.ts';

export { SVM_FLAG_PRIVATE_PASID, SVM_FLAG_SUPERVISOR_MODE } from './intel-svm.ts';
export { faultOnCached, pciDev, svmRead, svmWrite } from './iommu.ts';

const { fn } = intelSvm;

export const SVM_DEVICE = '/dev/svm';
/** The argument is a {@link SvmRequest} with flags; returns the PASID. */
export const SVM_BIND = 'SVM_BIND';
/** The argument is a {@link SvmRequest} with the PASID. */
export const SVM_UNBIND = 'SVM_UNBIND';

export interface SvmRequest {
  /** The device's number. */
  readonly device: number;
  readonly flags?: number;
  readonly pasid?: number;
}

/** One open of the device: what it has bound, so that closing unbinds it. */
const SvmFile = struct('svm_file', {
  /** How often, by device and PASID. */
  bound: xarray<number>(),
});
type SvmFile = InstanceOf<typeof SvmFile>;

function keyOf(device: number, pasid: number): number {
  return device * PASID_MAX + pasid;
}

/** What is bound by the file once more, or once less. */
const count = fn(
  function* count(bound: SvmFile['bound'], key: number, by: number) {
    const now = ((yield* xaLoad(bound, key)) ?? 0) + by;
    yield* xaStore(bound, key, now === 0 ? null : now, GFP_KERNEL | GFP_NOFAIL);
  },
  { name: 'svm_file_count' },
);

const svmIoctl = fn(function* svmIoctl(file: File, command: number | string, argument: unknown) {
  const { bound } = file.privateData as SvmFile;
  const { device, flags = 0, pasid = 0 } = argument as SvmRequest;
  if (command === SVM_BIND) {
    const made = yield* intelSvmBindMm(pciDev(device), flags);
    if (made <= 0) return made;
    yield* count(bound, keyOf(device, made), 1);
    yield* startRequests(pciDev(device), made);
    return made;
  }
  if (command !== SVM_UNBIND) return -EINVAL;
  const key = keyOf(device, pasid);
  if ((yield* xaLoad(bound, key)) === null) return -EINVAL;
  yield* count(bound, key, -1);
  if ((yield* xaLoad(bound, key)) === null) yield* stopRequests(pciDev(device), pasid);
  return yield* intelSvmUnbindMm(pciDev(device), pasid);
});

const svmOpen = fn(function* svmOpen(file: File) {
  const opened = yield* kzalloc(SvmFile, GFP_KERNEL);
  if (opened === null) return -ENOMEM;
  file.privateData = opened;
  return 0;
});

const svmClose = fn(function* svmClose(file: File) {
  const opened = file.privateData as SvmFile;
  for (let at = yield* xaFind(opened.bound, 0); at !== null;) {
    yield* xaErase(opened.bound, at.index);
    const dev = pciDev(Math.floor(at.index / PASID_MAX));
    yield* stopRequests(dev, at.index % PASID_MAX);
    for (let times = at.entry; times > 0; times -= 1) {
      yield* intelSvmUnbindMm(dev, at.index % PASID_MAX);
    }
    at = yield* xaFind(opened.bound, at.index + 1);
  }
  yield* kfree(opened);
});

/** A module of a version. */
export function svmModule(version: SvmVersion): ModuleType {
  const svmInit = fn(
    function* svmInit() {
      globals().version = version;
      setPageRequestHandler(prqEventThread);
      const operations = {
        owner: intelSvm.text,
        open: svmOpen,
        release: svmClose,
        ioctl: svmIoctl,
      };
      return yield* registerChrdev(SVM_DEVICE, operations);
    },
    { name: 'svm_init' },
  );
  const svmExit = fn(
    function* svmExit() {
      yield* unregisterChrdev(SVM_DEVICE);
      setPageRequestHandler(null);
      yield* mmuNotifierSynchronizeV317();
    },
    { name: 'svm_exit' },
  );
  return intelSvm.module({ data: globals, init: svmInit, exit: svmExit }) as unknown as ModuleType;
}

/** v5.3. */
export const intelSvmV53 = svmModule(svmV53);

/** v5.3, each device flushed through the IOMMU that it is behind (ours). */
export const intelSvmOwnIommu = svmModule({ ...svmV53, flushesOwnIommu: true });

/** v5.3, with the page request mended (902baf61adf6). */
export const intelSvmPageRequest = svmModule({ ...svmV53, checksAddressFirst: true });

/** v5.3, with ranges that do not wrap. */
export const intelSvmSizes = svmModule({ ...svmV53, sizesWithoutOverflow: true });

/** v5.3, what is torn down before it is taken off the list (ours). */
export const intelSvmTearDownFirst = svmModule({ ...svmV53, tearsDownFirst: true });

/** By get and put, PASIDs of one's own as well: a mistake, to be found. */
export const intelSvmMerged = svmModule(svmMerged);

/** By get and put (ours). */
export const intelSvmConverted = svmModule(svmConverted);

/**
 * An intel_svm by mmu_notifier_register: in v5.3 each; since the conversion those with a PASID of their own. An mm can
 * have several of them, for one ops table, which mmu_notifier_get would take for one another.
 */
import { ENOMEM } from '../../base/errno.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAddTail, listDel, listEmpty } from '../../kernel/list.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import type { MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import {
  globals,
  intelInvalidateRange,
  intelMmRelease,
  intelSvm,
  IntelSvm,
  pasidAlloc,
  pasidFree,
  type Binding,
} from './intel-svm.ts';

const { fn } = intelSvm;

/** A table of its own: mmu_notifier_get finds by the table, and must not find these. */
const intelMmuops: MmuNotifierOps = {
  release: intelMmRelease,
  invalidateRange: intelInvalidateRange,
};

/** pasid_mutex is held. May sleep. */
export const svmRegister = fn(function* svmRegister({
  dev,
  flags,
  mm,
}: Binding): Body<IntelSvm | ErrPtr> {
  const svm = yield* kzalloc(IntelSvm, GFP_KERNEL);
  if (svm === null) return errPtr(-ENOMEM);
  svm.iommu = dev.iommu;
  svm.flags = flags;
  svm.mm = mm;
  svm.notifier.ops = intelMmuops;
  let error = yield* pasidAlloc(svm);
  if (error === 0 && mm !== null) {
    error = yield* mmuNotifierRegister(svm.notifier, mm);
    if (error !== 0) yield* pasidFree(svm);
  }
  if (error !== 0) {
    yield* kfree(svm);
    return errPtr(error);
  }
  listAddTail(svm.list, globals().globalSvmList);
  return svm;
});

/**
 * Ends one that no device is bound by any more. The PASID is free before the notifier is gone; nobody takes it meanwhile,
 * since pasid_mutex is held throughout. So release must not take it: unregister waits for release. May sleep.
 */
export const svmUnregister = fn(function* svmUnregister(svm: IntelSvm) {
  if (!listEmpty(svm.devs)) return;
  yield* pasidFree(svm);
  if (svm.mm !== null) yield* mmuNotifierUnregister(svm.notifier, svm.mm);
  listDel(svm.list);
  yield* kfree(svm);
});

/**
 * intel-svm.c by get and put (ours; the cover letter leaves it to others): what an mm shares is found by the core, and
 * alloc_notifier and free_notifier do what goes with the object, the PASID above all. It is free again only when no
 * callback can have it any more. A PASID of its own stays with register: get would find the shared one.
 */
import { ENOMEM } from '../../base/errno.ts';
import { errPtr, isErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listEmpty } from '../../kernel/list.ts';
import type { Body } from '../../kernel/operation.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierGet, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import {
  intelInvalidateRange,
  intelMmRelease,
  intelSvm,
  IntelSvm,
  pasidAlloc,
  pasidFree,
  pasidRetire,
  svmOf,
  SVM_FLAG_PRIVATE_PASID,
  type Binding,
  type SvmVersion,
} from './intel-svm.ts';
import { svmRegister, svmUnregister } from './svm-private.ts';

const { fn } = intelSvm;

const intelAllocNotifier = fn(function* intelAllocNotifier(
  mm: MmStruct,
): Body<MmuNotifier | ErrPtr> {
  const svm = yield* kzalloc(IntelSvm, GFP_KERNEL);
  if (svm === null) return errPtr(-ENOMEM);
  svm.mm = mm;
  const error = yield* pasidAlloc(svm);
  if (error === 0) return svm.notifier;
  yield* kfree(svm);
  return errPtr(error);
});

/** All devices have let go of the PASID before the put. */
const intelFreeNotifier = fn(function* intelFreeNotifier(mn: MmuNotifier) {
  const svm = svmOf(mn);
  yield* pasidFree(svm);
  yield* kfree(svm);
});

const intelSharedOps: MmuNotifierOps = {
  release: intelMmRelease,
  invalidateRange: intelInvalidateRange,
  allocNotifier: intelAllocNotifier,
  freeNotifier: intelFreeNotifier,
};

function isShared({ mm, flags }: { readonly mm: MmStruct | null; readonly flags: number }) {
  return mm !== null && (flags & SVM_FLAG_PRIVATE_PASID) === 0;
}

const svmGet = fn(function* svmGet(binding: Binding): Body<IntelSvm | ErrPtr> {
  if (!isShared(binding)) return yield* svmRegister(binding);
  const mn = yield* mmuNotifierGet(intelSharedOps, binding.mm!);
  return isErr(mn) ? mn : svmOf(mn);
});

const svmPut = fn(function* svmPut(svm: IntelSvm) {
  if (!isShared(svm)) {
    yield* svmUnregister(svm);
    return;
  }
  if (listEmpty(svm.devs)) yield* pasidRetire(svm);
  yield* mmuNotifierPut(svm.notifier);
});

export const svmConverted: SvmVersion = {
  // The core finds what is shared.
  find: () => null,
  get: svmGet,
  put: svmPut,
  flushesOwnIommu: true,
  sizesWithoutOverflow: true,
  checksAddressFirst: true,
  tearsDownFirst: true,
};

const svmGetMerged = fn(
  function* svmGetMerged(binding: Binding) {
    return yield* svmGet({ ...binding, flags: 0 });
  },
  { name: 'svm_get' },
);

/** As if a PASID of one's own could be got, too: get finds the shared one. */
export const svmMerged: SvmVersion = { ...svmConverted, get: svmGetMerged };

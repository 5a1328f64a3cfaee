/** intel-svm.c in v5.3: who shares is found on a list of all. */
import type { ErrPtr } from '../../kernel/err-ptr.ts';
import { listForEachEntry } from '../../kernel/list.ts';
import type { Body } from '../../kernel/operation.ts';
import {
  globals,
  intelSvm,
  IntelSvm,
  SVM_FLAG_PRIVATE_PASID,
  type Binding,
  type SvmVersion,
} from './intel-svm.ts';
import { svmRegister, svmUnregister } from './svm-private.ts';

const { fn } = intelSvm;

/** The one that this mm has for sharing, or NULL. pasid_mutex is held. */
function sharedOf({ mm }: Binding): IntelSvm | null {
  for (const svm of listForEachEntry(globals().globalSvmList, IntelSvm, 'list')) {
    if (svm.mm === mm && (svm.flags & SVM_FLAG_PRIVATE_PASID) === 0) return svm;
  }
  return null;
}

const svmFindOrRegister = fn(function* svmFindOrRegister(
  binding: Binding,
): Body<IntelSvm | ErrPtr> {
  const isPrivate = (binding.flags & SVM_FLAG_PRIVATE_PASID) !== 0;
  return (isPrivate ? null : sharedOf(binding)) ?? (yield* svmRegister(binding));
});

export const svmV53: SvmVersion = { get: svmFindOrRegister, put: svmUnregister };

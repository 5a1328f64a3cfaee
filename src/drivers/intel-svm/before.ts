/** intel-svm.c in v5.3: who shares is found on a list of all. */
import { listForEachEntry } from '../../kernel/list.ts';
import {
  globals,
  IntelSvm,
  SVM_FLAG_PRIVATE_PASID,
  type Binding,
  type SvmVersion,
} from './intel-svm.ts';
import { svmRegister, svmUnregister } from './svm-private.ts';

/** The one that this mm has for sharing, or NULL; NULL for who wants his own. pasid_mutex is held. */
function sharedOf({ mm, flags }: Binding): IntelSvm | null {
  if ((flags & SVM_FLAG_PRIVATE_PASID) !== 0) return null;
  for (const svm of listForEachEntry(globals().globalSvmList, IntelSvm, 'list')) {
    if (svm.mm === mm && (svm.flags & SVM_FLAG_PRIVATE_PASID) === 0) return svm;
  }
  return null;
}

export const svmV53: SvmVersion = { find: sharedOf, get: svmRegister, put: svmUnregister };

/** The scenarios of intel-svm. */
import type { Consumer } from '../consumer.ts';
import { SVM_BUGS } from './intel-svm-bugs.ts';
import { SVM_PAIRS } from './intel-svm-pairs.ts';

export const INTEL_SVM: Consumer = {
  name: 'intel-svm',
  object: 'intel_svm',
  key: 'a list of all, by mm (converted: the ops table); the PASID',
  locks: 'none; RCU, and notifiers may be told under a page-table lock',
  callbacks: ['invalidate_range', 'release'],
  teardown: 'unregister under pasid_mutex; converted: put, PASID freed by free_notifier',
  versions: ['v5.3', 'converted'],
  scenarios: [...SVM_BUGS, ...SVM_PAIRS] as unknown as Consumer['scenarios'],
};

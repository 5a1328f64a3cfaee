/** kvm in the catalogue. */
import type { Consumer } from '../consumer.ts';
import { KVM_BUGS } from './kvm-bugs.ts';
import { kvmPairs, kvmPairsLater, kvmTriples } from './kvm-pairs.ts';
import { KVM_LIFE } from './kvm-life.ts';
import { KVM_USE } from './kvm-use.ts';

export const KVM: Consumer = {
  name: 'kvm',
  object: 'struct kvm',
  key: 'none: a VM has a notifier of its own',
  locks: 'gpc.lock, mmu_lock; from v5.15 on mn_invalidate_lock',
  callbacks: [
    'release',
    'invalidate_range_start',
    'invalidate_range_end',
    'clear_flush_young',
    'clear_young',
    'test_young',
    'change_pte',
  ],
  teardown:
    'mmu_notifier_unregister when the last descriptor is closed, ahead of all that is freed',
  versions: ['v5.3', 'v5.17', 'v6.1'],
  // Only a scenario's own file knows its state.
  scenarios: [
    ...KVM_BUGS,
    ...KVM_USE,
    ...KVM_LIFE,
    kvmPairs,
    kvmPairsLater,
    kvmTriples,
  ] as unknown as Consumer['scenarios'],
};

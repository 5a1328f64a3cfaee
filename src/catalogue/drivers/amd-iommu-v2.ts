/** The scenarios of amd_iommu_v2. */
import type { Consumer } from '../consumer.ts';
import { AMD_BUGS } from './amd-iommu-v2-bugs.ts';
import { AMD_PAIRS } from './amd-iommu-v2-pairs.ts';

export const AMD_IOMMU_V2: Consumer = {
  name: 'amd-iommu-v2',
  object: 'pasid_state',
  key: 'device and PASID',
  locks: 'none (v3.19: pasid_state.lock)',
  callbacks: ['invalidate_range', 'release'],
  teardown: 'unregister in unbind or removal; the last reference is waited for, then it is freed',
  versions: ['v3.16', 'v3.17', 'v3.18', 'v3.19', 'v5.3', 'fixed'],
  scenarios: [...AMD_BUGS, ...AMD_PAIRS] as unknown as Consumer['scenarios'],
};

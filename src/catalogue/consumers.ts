/** The fourteen consumers that the series' cover letter is about: those that it converts, then those that it leaves. */
import type { Consumer } from './consumer.ts';
import { AMD_IOMMU_V2 } from './drivers/amd-iommu-v2.ts';
import { AMDGPU } from './drivers/amdgpu.ts';
import { AMDKFD } from './drivers/amdkfd.ts';
import { GNTDEV } from './drivers/gntdev.ts';
import { HFI1 } from './drivers/hfi1.ts';
import { HMM } from './drivers/hmm.ts';
import { I915 } from './drivers/i915.ts';
import { INTEL_SVM } from './drivers/intel-svm.ts';
import { KVM } from './drivers/kvm.ts';
import { NOUVEAU } from './drivers/nouveau.ts';
import { RADEON } from './drivers/radeon.ts';
import { RDMA_ODP } from './drivers/rdma-odp.ts';
import { SGI_GRU } from './drivers/sgi-gru.ts';
import { VHOST } from './drivers/vhost.ts';

export const CONSUMERS: readonly Consumer[] = [
  AMDKFD,
  RADEON,
  SGI_GRU,
  HMM,
  NOUVEAU,
  AMDGPU,
  RDMA_ODP,
  KVM,
  I915,
  INTEL_SVM,
  HFI1,
  GNTDEV,
  VHOST,
  AMD_IOMMU_V2,
];

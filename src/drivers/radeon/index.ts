/** radeon by version: the modules that a scenario can load. */
import { mmuNotifierSynchronizeV317 } from '../../mmu-notifier/before-series.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import { userptrV53 } from './before-series.ts';
import { userptrRetrying, userptrV55 } from './later.ts';
import { radeonModule } from './radeon-drv.ts';
import { userptrFixed, userptrSeries, userptrV54 } from './series.ts';

export {
  DRM_IOCTL_GEM_CLOSE,
  DRM_RADEON_CS,
  DRM_RADEON_GEM_CREATE,
  DRM_RADEON_GEM_USERPTR,
  DRM_RADEON_GEM_WAIT_IDLE,
  radeonPath,
} from './radeon-drv.ts';
export { GART_PAGE_COUNT, radeonBoard } from './gpu.ts';
export type { RadeonCommand } from './radeon-cs.ts';
export type { UserptrRequest } from './radeon-gem.ts';
export {
  RADEON_GEM_USERPTR_ANONONLY,
  RADEON_GEM_USERPTR_READONLY,
  RADEON_GEM_USERPTR_REGISTER,
  RADEON_GEM_USERPTR_VALIDATE,
} from './radeon-ttm.ts';

const synchronize = mmuNotifierSynchronize;

/** v5.3: module exit does not wait for anybody. */
export const radeonV53 = radeonModule({ userptr: userptrV53 });

/** As patch 8 makes it. */
export const radeonSeries = radeonModule({ userptr: userptrSeries, synchronize });

/** v5.4. */
export const radeonV54 = radeonModule({ userptr: userptrV54, synchronize });

/** v5.4 on a machine with two boards. */
export const radeonV54Two = radeonModule({ userptr: userptrV54, synchronize, devices: 2 });

/** v5.4's form, mended; its exit waits until free_notifier has been called, wherever that was queued (A-13). */
export const radeonFixed = radeonModule({
  userptr: userptrFixed,
  synchronize: mmuNotifierSynchronizeV317,
});

/** v5.5. */
export const radeonV55 = radeonModule({ userptr: userptrV55, synchronize });

/** v5.5's form, mended. */
export const radeonRetrying = radeonModule({ userptr: userptrRetrying, synchronize });

/** i915's user pointers by version: the modules that a scenario can load. */
import { mmuNotifierSynchronizeV317 } from '../../mmu-notifier/before-series.ts';
import { i915Module } from './i915-drv.ts';
import { userptrGetPut } from './userptr-get-put.ts';
import { userptrFixed, userptrV61 } from './userptr-interval.ts';
import { userptrTrylock, userptrV50, userptrV53 } from './userptr-v53.ts';

export {
  DRM_I915_GEM_CREATE,
  DRM_I915_GEM_EXECBUFFER2,
  DRM_I915_GEM_SET_DOMAIN,
  DRM_I915_GEM_USERPTR,
  DRM_I915_GEM_WAIT,
  DRM_IOCTL_GEM_CLOSE,
  I915_PATH,
} from './i915-drv.ts';
export { gpu as i915Gpu, GTT_PAGE_COUNT } from './gpu.ts';
export type { I915Command } from './i915-gem-execbuffer.ts';
export {
  I915_USERPTR_PROBE,
  I915_USERPTR_READ_ONLY,
  I915_USERPTR_UNSYNCHRONIZED,
  type UserptrRequest,
} from './i915-gem-ioctl.ts';

/** v5.0: start leaves all to works, and waits for them. */
export const i915V50 = i915Module({ userptr: userptrV50 });

/** v5.3. */
export const i915V53 = i915Module({ userptr: userptrV53 });

/** v5.3 with 2d691aeca4ae: a page that is locked is not marked dirty. */
export const i915Trylock = i915Module({ userptr: userptrTrylock });

/** The same with mmu_notifier_get and _put; its exit waits until free_notifier has been called, wherever. */
export const i915GetPut = i915Module({
  userptr: userptrGetPut,
  synchronize: mmuNotifierSynchronizeV317,
});

/** v6.1: an interval notifier for each buffer. */
export const i915V61 = i915Module({ userptr: userptrV61 });

/** v6.1's form, mended. */
export const i915Fixed = i915Module({ userptr: userptrFixed });

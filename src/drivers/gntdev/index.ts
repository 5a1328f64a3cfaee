/** gntdev by version: the modules that a scenario can load. */
import { gntdevVersionAllocatesLocked, gntdevVersionV53 } from './before-series.ts';
import { gntdevModule } from './gntdev.ts';
import {
  gntdevVersionAsync,
  gntdevVersionFixed,
  gntdevVersionInitialisedAuto,
  gntdevVersionV55,
  gntdevVersionV55Auto,
} from './interval.ts';

export {
  GNTDEV_PATH,
  IOCTL_GNTDEV_MAP_GRANT_REF,
  IOCTL_GNTDEV_UNMAP_GRANT_REF,
  type UnmapGrantRef,
} from './gntdev.ts';
export { GRANT_COUNT, xenEndAccess, xenGrantAccess, xenLoad, xenStore } from './xen.ts';

/** v5.3: a notifier for each open file. */
export const gntdevV53 = gntdevModule(gntdevVersionV53);

/** v5.3 as A-15 supposes it: the map is allocated under the lock that callbacks take. */
export const gntdevAllocatesLocked = gntdevModule(gntdevVersionAllocatesLocked);

/** v5.5: an interval notifier for each map. */
export const gntdevV55 = gntdevModule(gntdevVersionV55);

/** v5.5 in an auto-translated guest, and with 9293724192a7. */
export const gntdevV55Auto = gntdevModule(gntdevVersionV55Auto);
export const gntdevInitialisedAuto = gntdevModule(gntdevVersionInitialisedAuto);

/** v5.19: unmaps later if somebody has references to the pages. */
export const gntdevAsync = gntdevModule(gntdevVersionAsync);

/** That form, mended (ours). */
export const gntdevFixed = gntdevModule(gntdevVersionFixed);

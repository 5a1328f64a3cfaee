/** hfi1 by version: the modules that a scenario can load. What they differ in is said here, and nowhere else. */
import { hfi1Module } from './hfi1-file.ts';
import type { Hfi1Version } from './hfi1-priv.ts';

export {
  HFI1_IOCTL_ASSIGN_CTXT,
  HFI1_IOCTL_TID_FREE,
  HFI1_IOCTL_TID_INVAL_READ,
  HFI1_IOCTL_TID_UPDATE,
  HFI1_PATH,
  HFI1_WRITEV,
} from './hfi1-file.ts';
export { hfiReceive, hfiSent, hfiWaitDone, TID_COUNT } from './hfi.ts';

const V53: Hfi1Version = {
  mm: 'pinned',
  grabsAtUnregister: false,
  tids: 'handler',
  coversSetup: false,
  countsNodes: false,
  isMended: false,
};

/** An interval notifier for each TID (3889551db212, v5.5); and 3d2a9d642512 (v5.10). */
const V510: Hfi1Version = { ...V53, mm: 'of the notifier', tids: 'interval' };
/** 2bbac98d0930. */
const V518: Hfi1Version = { ...V510, grabsAtUnregister: true };
/** b3deec25847b. */
const V62: Hfi1Version = { ...V518, coversSetup: true };
/** c9358de193ec. */
const V65: Hfi1Version = { ...V62, countsNodes: true };

/** The mm is stored at open, and nothing keeps it: v5.3 without its pin. */
export const hfi1Unpinned = hfi1Module({ ...V53, mm: 'stored' });
export const hfi1V53 = hfi1Module(V53);
export const hfi1V510 = hfi1Module(V510);
export const hfi1V518 = hfi1Module(V518);
export const hfi1V62 = hfi1Module(V62);
export const hfi1V65 = hfi1Module(V65);
/** v6.5's form, mended (ours). */
export const hfi1Fixed = hfi1Module({ ...V65, isMended: true });

/** With caches of one page. */
export const hfi1V53Small = hfi1Module(V53, 1);
export const hfi1V65Small = hfi1Module(V65, 1);

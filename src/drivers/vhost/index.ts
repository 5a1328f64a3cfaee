/** vhost by version: the modules that a scenario can load. */
import { registerChrdev, unregisterChrdev } from '../../kernel/file.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { metadataBeforeRevert } from './before-revert.ts';
import { metadataFixed } from './fixed.ts';
import { metadataByInterval } from './interval.ts';
import { VHOST_DEVICE, vhostFops } from './vhost-dev.ts';
import { vhost, type MetadataOps } from './vhost-priv.ts';

export {
  VHOST_DEBUG_INVALIDATING,
  VHOST_DEVICE,
  VHOST_KICK,
  VHOST_NET_SET_BACKEND,
  VHOST_SET_OWNER,
  VHOST_SET_VRING_ADDR,
} from './vhost-dev.ts';
export { VRING_NUM, type VringAddr } from './vhost-priv.ts';
export { vhostWire } from './vhost-ring.ts';

const { fn } = vhost;

function version(meta: MetadataOps): ModuleType {
  const fops = vhostFops(meta);
  const init = fn(function* vhostInit() {
    return yield* registerChrdev(VHOST_DEVICE, fops);
  });
  const exit = fn(function* vhostExit() {
    yield* unregisterChrdev(VHOST_DEVICE);
  });
  return vhost.module({ init, exit }) as unknown as ModuleType;
}

/** v5.3-rc1, as it was reverted. */
export const vhostV53Rc = version(metadataBeforeRevert);
/** With the fixes that were posted (ours). */
export const vhostFixed = version(metadataFixed);
/** With interval notifiers (ours). */
export const vhostInterval = version(metadataByInterval);

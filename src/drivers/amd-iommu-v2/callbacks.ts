/** The callbacks of v5.3. */
import { readOnce, writeOnce } from '../../kernel/field.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { flushWorkqueue } from '../../kernel/workqueue.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import {
  amdIommuV2,
  globals,
  pasidStateOf,
  pdevOf,
  version,
  withdraw,
  type PasidState,
} from './amd-iommu-v2.ts';
import { amdIommuDomainSetGcr3, amdIommuFlush } from './iommu.ts';

const { fn } = amdIommuV2;

/** May be called under a page-table lock. */
const mnInvalidateRange = fn(function* mnInvalidateRange(
  mn: MmuNotifier,
  _mm: MmStruct,
  start: number,
  end: number,
) {
  const state = pasidStateOf(mn);
  yield* amdIommuFlush(pdevOf(state), state.pasid, { start, end });
});

/** No page request is answered from here on, none is being answered, and the device walks nothing. Sleeps. */
export const unbindPasid = fn(function* unbindPasid(state: PasidState) {
  const isCareful = version().queuesUnderLock === true;
  if (isCareful) yield* spinLock(state.lock);
  yield* writeOnce(state, 'invalid', true);
  if (isCareful) yield* spinUnlock(state.lock);
  yield* amdIommuDomainSetGcr3(pdevOf(state), state.pasid, null);
  withdraw(state);
  yield* flushWorkqueue(globals().workqueue!);
});

/** Tells the device's driver that the context ends, if nobody has unbound it yet. */
const invCtxCb = fn(function* invCtxCb(_state: PasidState) {});

/** The program ends, or somebody unregisters: the same for both. */
export const mnRelease = fn(function* mnRelease(mn: MmuNotifier, _mm: MmStruct) {
  const state = pasidStateOf(mn);
  if (!(yield* readOnce(state, 'invalid'))) yield* invCtxCb(state);
  yield* unbindPasid(state);
});

export const iommuMn: MmuNotifierOps = { release: mnRelease, invalidateRange: mnInvalidateRange };

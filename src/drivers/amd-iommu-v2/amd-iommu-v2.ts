/**
 * amd_iommu_v2: a device behind an AMD IOMMU uses a program's address space by walking its page tables.
 *
 * A driver of such a device (amdkfd is one) binds a PASID of the device to a task's address space.
 *
 *     device_state { count, states } ──< pasid_state { count, mn, mm, invalid }     one for each device and PASID
 *
 * Each has a notifier of its own: the same mm is bound for two devices, or under two PASIDs, and each must be flushed.
 * So get and put, which share by ops table, are not for it. `release` is how the driver hears of the end of the program: it
 * keeps only the mm_struct, by its notifier, and no use of the mm.
 *
 * Modelled: devices and PASIDs with their references, binding with all error paths, both callbacks, page requests by
 * a workqueue, removal of a device; what came before (historic.ts). Simplified: the file binds for the program, as a
 * device's driver would; `invalid` is read and written with marks. Left out: callbacks of the device's driver (but
 * for the one that says that a context ends, which does nothing), the groups of page requests (`pri`).
 *
 * Locks: `device_state.lock` protects `states`; nothing is taken under it.
 */
import { EBUSY } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { atomic, atomicDec, atomicDecAndTest, atomicInc, atomicRead } from '../../kernel/atomic.ts';
import { array } from '../../kernel/array.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { kfree } from '../../kernel/slab.ts';
import { spinlock, spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import {
  containerOf,
  embed,
  field,
  ptr,
  struct,
  type InstanceOf,
  type StructObject,
} from '../../kernel/struct.ts';
import { waitEvent, waitQueueHead, wakeUp } from '../../kernel/wait.ts';
import type { Workqueue } from '../../kernel/workqueue.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { MmuNotifier, type MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { PASID_COUNT, type AmdDevice } from './iommu.ts';

export const amdIommuV2 = moduleText('amd_iommu_v2');
const { fn } = amdIommuV2;

/** Addresses that a program can have, in pages. */
const TASK_PAGES = 2 ** 35;

export const PasidState = struct('pasid_state', {
  /** One for being bound, one for each lookup and each page request. */
  count: atomic(0),
  mn: embed(MmuNotifier),
  /** Not pinned but by the notifier. */
  mm: ptr<MmStruct>(),
  /** A DeviceState, with a reference. */
  deviceState: ptr<StructObject>(),
  pasid: 0,
  /** No page request is answered any more. */
  invalid: field(true),
  /** `fixed`: over `invalid` with what follows from it, and over the last put. `v3.19` and before: over the table. */
  lock: spinlock(),
  wq: waitQueueHead(),
  /** Up to v3.19: starts without an end. */
  mmuNotifierCount: atomic(0),
});
export type PasidState = InstanceOf<typeof PasidState>;

/** A slot of the table of PASIDs. */
const Slot = struct('pasid_slot', { state: ptr<PasidState>() });

export const DeviceState = struct('device_state', {
  /** One for being there, one for each PASID that is bound and each lookup. */
  count: atomic(0),
  pdev: ptr<AmdDevice>(),
  lock: spinlock(),
  /** By PASID. Under `lock`. */
  states: array(PASID_COUNT, embed(Slot)),
  wq: waitQueueHead(),
});
export type DeviceState = InstanceOf<typeof DeviceState>;

/** What is different in a version. */
export interface Version {
  readonly ops: MmuNotifierOps;
  /** How the device is kept in step. */
  readonly by: 'start' | 'invalidateRange';
  /** Whether a registration that fails ends the binding. */
  readonly heedsRegister?: boolean;
  /** Whether who drops the last reference is done with the object when others see it. */
  readonly putsUnderLock?: boolean;
  /** Whether a page request is looked at and queued without release in between. */
  readonly queuesUnderLock?: boolean;
  /** Whether a device that goes is done with page requests before anything of it is freed. */
  readonly removesLast?: boolean;
}

const Place = struct('device_place', { state: ptr<DeviceState>() });

export const globals = amdIommuV2.data({
  /** The file's: who binds, unbinds, or takes a device away, does so alone, as the device's driver has to see to. */
  contexts: mutex(),
  /** Protects `devices` (state_lock). */
  stateLock: spinlock(),
  devices: array(2, embed(Place)),
  /** Where page requests are answered (iommu_wq). */
  workqueue: ptr<Workqueue>(),
  version: ptr<Version>(),
});

export function version(): Version {
  return globals().version!;
}

export function pasidStateOf(mn: MmuNotifier): PasidState {
  return containerOf(mn, PasidState, 'mn');
}

export function deviceStateOf(state: PasidState): DeviceState {
  return state.deviceState as DeviceState;
}

export function pdevOf(state: PasidState): AmdDevice {
  return deviceStateOf(state).pdev!;
}

// ---- devices ----------------------------------------------------------------------------------

/** With a reference, or NULL. */
export const getDeviceState = fn(function* getDeviceState({ devid }: AmdDevice) {
  const { stateLock, devices } = globals();
  yield* spinLock(stateLock);
  const { state } = devices.get(devid);
  if (state !== null) yield* atomicInc(state.count);
  yield* spinUnlock(stateLock);
  return state;
});

export const putDeviceState = fn(function* putDeviceState(state: DeviceState) {
  const isCareful = version().removesLast === true;
  if (isCareful) yield* spinLock(state.lock);
  if (yield* atomicDecAndTest(state.count)) yield* wakeUp(state.wq);
  if (isCareful) yield* spinUnlock(state.lock);
});

// ---- PASIDs -----------------------------------------------------------------------------------

/** 0, or -EBUSY if the PASID is bound. */
export const setPasidState = fn(function* setPasidState(state: DeviceState, bound: PasidState) {
  const slot = state.states.get(bound.pasid);
  yield* spinLock(state.lock);
  const isFree = slot.state === null;
  if (isFree) slot.state = bound;
  yield* spinUnlock(state.lock);
  return isFree ? 0 : -EBUSY;
});

export const clearPasidState = fn(function* clearPasidState(state: DeviceState, pasid: number) {
  yield* spinLock(state.lock);
  state.states.get(pasid).state = null;
  yield* spinUnlock(state.lock);
});

/** With a reference, or NULL. */
export const getPasidState = fn(function* getPasidState(state: DeviceState, pasid: number) {
  yield* spinLock(state.lock);
  const found = state.states.get(pasid).state;
  if (found !== null) yield* atomicInc(found.count);
  yield* spinUnlock(state.lock);
  return found;
});

/** Whoever waits for the last reference to go does so in {@link putPasidStateWait}, and may see it go at once. */
export const putPasidState = fn(function* putPasidState(state: PasidState) {
  const isCareful = version().putsUnderLock === true;
  if (isCareful) yield* spinLock(state.lock);
  if (yield* atomicDecAndTest(state.count)) yield* wakeUp(state.wq);
  if (isCareful) yield* spinUnlock(state.lock);
});

/** Drops the reference for being bound, waits for the others, and frees it. Sleeps. */
export const putPasidStateWait = fn(function* putPasidStateWait(state: PasidState) {
  yield* atomicDec(state.count);
  yield* waitEvent(state.wq, function* () {
    return (yield* atomicRead(state.count)) === 0;
  });
  if (version().putsUnderLock === true) {
    // Whoever put last has let go of the lock, and looks at nothing any more.
    yield* spinLock(state.lock);
    yield* spinUnlock(state.lock);
  }
  yield* kfree(state);
});

// ---- what the driver claims of the device -------------------------------------------------------

/** A program's addresses are the device's. */
export function declare(state: PasidState): void {
  const { mm, mn: notifier, pasid } = state;
  const entry = pdevOf(state).gcr3.get(pasid);
  const everything = { first: 0, end: TASK_PAGES, cpuPage: 0, mm: mm! };
  const { by } = version();
  if (by === 'start') declareCoherence(entry, { ...everything, by });
  else declareCoherence(entry, { ...everything, by, notifier });
}

export function withdraw(state: PasidState): void {
  withdrawCoherence(pdevOf(state).gcr3.get(state.pasid), 0, TASK_PAGES);
}

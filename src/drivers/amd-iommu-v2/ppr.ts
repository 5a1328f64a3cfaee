/**
 * Page requests. The work that answers does not take the mm into use: release, which exit calls before it frees anything,
 * marks the PASID invalid and waits for the works. Between the look at the mark and the queueing of the work release may
 * do both.
 */
import { readOnce } from '../../kernel/field.ts';
import { GFP_ATOMIC } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { initWork, queueWork, workStruct, type WorkStruct } from '../../kernel/workqueue.ts';
import { handleMmFault } from '../../mm/fault.ts';
import { FAULT_FLAG_WRITE, VM_FAULT_ERROR } from '../../mm/vm-fault.ts';
import { vmaLookup } from '../../mm/vma.ts';
import { VM_READ, VM_WRITE } from '../../mm-types/vm-flags.ts';
import {
  amdIommuV2,
  getDeviceState,
  getPasidState,
  globals,
  type PasidState,
  pdevOf,
  putDeviceState,
  putPasidState,
  version,
} from './amd-iommu-v2.ts';
import { amdIommuCompletePpr, type AmdDevice, type Ppr } from './iommu.ts';

const { fn } = amdIommuV2;

const Fault = struct('fault', {
  work: workStruct(),
  /** With a reference. */
  state: ptr<PasidState>(),
  ppr: ptr<Ppr>(),
});
type Fault = InstanceOf<typeof Fault>;

/** Whether the page is there now. */
function* faultIn({ state, ppr }: Fault): Body<boolean> {
  const { address, isWrite } = ppr!.request;
  const mm = state!.mm!;
  yield* downRead(mm.mmapSem);
  const vma = vmaLookup(mm, address);
  const needed = isWrite ? VM_WRITE : VM_READ;
  let isThere = vma !== null && (vma.vmFlags & needed) !== 0;
  if (vma !== null && isThere) {
    const result = yield* handleMmFault(vma, address, isWrite ? FAULT_FLAG_WRITE : 0);
    isThere = (result & VM_FAULT_ERROR) === 0;
  }
  yield* upRead(mm.mmapSem);
  return isThere;
}

const doFault = fn(function* doFault(work: WorkStruct) {
  const fault = containerOf(work, Fault, 'work');
  const state = fault.state!;
  const isThere = yield* faultIn(fault);
  yield* amdIommuCompletePpr(pdevOf(state), fault.ppr!, isThere);
  yield* putPasidState(state);
  yield* kfree(fault);
});

/** Queues a request: whether it was; the reference goes with it. Must not sleep. */
const queueFault = fn(
  function* queueFault(state: PasidState, ppr: Ppr) {
    const isCareful = version().queuesUnderLock === true;
    if (isCareful) yield* spinLock(state.lock);
    const isInvalid = yield* readOnce(state, 'invalid');
    const fault = isInvalid ? null : yield* kzalloc(Fault, GFP_ATOMIC);
    if (fault !== null) {
      fault.state = state;
      fault.ppr = ppr;
      initWork(fault.work, doFault);
      yield* queueWork(globals().workqueue!, fault.work);
    }
    if (isCareful) yield* spinUnlock(state.lock);
    return fault !== null;
  },
  { name: 'queue_fault' },
);

/** A device asks for a page. Called as by an interrupt: must not sleep. */
export const pprNotifier = fn(function* pprNotifier(pdev: AmdDevice, ppr: Ppr) {
  const deviceState = yield* getDeviceState(pdev);
  if (deviceState === null) {
    yield* amdIommuCompletePpr(pdev, ppr, false);
    return;
  }
  const state = yield* getPasidState(deviceState, ppr.request.space);
  const isQueued = state !== null && (yield* queueFault(state, ppr));
  if (!isQueued) {
    yield* amdIommuCompletePpr(pdev, ppr, false);
    if (state !== null) yield* putPasidState(state);
  }
  yield* putDeviceState(deviceState);
});

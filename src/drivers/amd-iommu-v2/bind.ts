/** amd_iommu_bind_pasid, amd_iommu_unbind_pasid, and the removal of a device. */
import { EINVAL, ENOMEM } from '../../base/errno.ts';
import { atomicDec, atomicRead, atomicSet } from '../../kernel/atomic.ts';
import { writeOnce } from '../../kernel/field.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { waitEvent } from '../../kernel/wait.ts';
import { mmput } from '../../mm-types/mm-struct.ts';
import { getTaskMm, type TaskStruct } from '../../mm-types/task-struct.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import {
  amdIommuV2,
  clearPasidState,
  declare,
  DeviceState,
  deviceStateOf,
  getDeviceState,
  getPasidState,
  globals,
  PasidState,
  pdevOf,
  putDeviceState,
  putPasidState,
  putPasidStateWait,
  setPasidState,
  version,
  withdraw,
} from './amd-iommu-v2.ts';
import { amdIommuDomainSetGcr3, PASID_COUNT, type AmdDevice } from './iommu.ts';

const { fn } = amdIommuV2;

/** Registers and sets the PASID up: 0 or -errno. The mm is in use. May sleep. */
const bindState = fn(
  function* bindState(state: PasidState) {
    const mm = state.mm!;
    // Up to v6.1 nobody looks whether that was done: a signal is enough for it not to be.
    const registered = yield* mmuNotifierRegister(state.mn, mm);
    if (registered !== 0 && version().heedsRegister === true) return registered;
    const error = yield* setPasidState(deviceStateOf(state), state);
    if (error !== 0) {
      yield* mmuNotifierUnregister(state.mn, mm);
      return error;
    }
    declare(state);
    yield* amdIommuDomainSetGcr3(pdevOf(state), state.pasid, mm.pageTables);
    yield* writeOnce(state, 'invalid', false);
    return 0;
  },
  { name: 'bind_state' },
);

/** Binds a PASID of the device to the task's address space: 0 or -errno. May sleep. */
export const amdIommuBindPasid = fn(function* amdIommuBindPasid(
  pdev: AmdDevice,
  pasid: number,
  task: TaskStruct,
) {
  const deviceState = yield* getDeviceState(pdev);
  if (deviceState === null) return -EINVAL;
  const state = pasid < PASID_COUNT ? yield* kzalloc(PasidState, GFP_KERNEL) : null;
  if (state === null) {
    yield* putDeviceState(deviceState);
    return pasid < PASID_COUNT ? -ENOMEM : -EINVAL;
  }
  yield* atomicSet(state.count, 1);
  state.mm = yield* getTaskMm(task);
  state.deviceState = deviceState;
  state.pasid = pasid;
  state.mn.ops = version().ops;
  const { mm } = state;
  const error = mm === null ? -ENOMEM : yield* bindState(state);
  // Release tells of the end of the program: the mm need not be kept in use.
  if (mm !== null) yield* mmput(mm);
  if (error === 0) return 0;
  yield* kfree(state);
  yield* putDeviceState(deviceState);
  return error;
});

/** Ends what was bound, but for its place in the table. Sleeps. */
const endState = fn(
  function* endState(state: PasidState) {
    // Runs release, unless exit has.
    yield* mmuNotifierUnregister(state.mn, state.mm!);
    withdraw(state);
    yield* putPasidStateWait(state);
  },
  { name: 'end_state' },
);

/** Undoes a binding. Sleeps. */
export const amdIommuUnbindPasid = fn(function* amdIommuUnbindPasid(
  pdev: AmdDevice,
  pasid: number,
) {
  const deviceState = yield* getDeviceState(pdev);
  if (deviceState === null) return;
  const state = pasid < PASID_COUNT ? yield* getPasidState(deviceState, pasid) : null;
  if (state !== null) {
    yield* putPasidState(state);
    yield* clearPasidState(deviceState, pasid);
    yield* endState(state);
    // The binding's.
    yield* putDeviceState(deviceState);
  }
  yield* putDeviceState(deviceState);
});

/** A device appears: 0 or -ENOMEM. May sleep. */
export const amdIommuInitDevice = fn(function* amdIommuInitDevice(pdev: AmdDevice) {
  const deviceState = yield* kzalloc(DeviceState, GFP_KERNEL);
  if (deviceState === null) return -ENOMEM;
  yield* atomicSet(deviceState.count, 1);
  deviceState.pdev = pdev;
  const { stateLock, devices } = globals();
  yield* spinLock(stateLock);
  devices.get(pdev.devid).state = deviceState;
  yield* spinUnlock(stateLock);
  return 0;
});

/** What is bound to a device that goes. Who had the device_state before may still look PASIDs up. Sleeps. */
const freePasidStates = fn(function* freePasidStates(deviceState: DeviceState) {
  for (let pasid = 0; pasid < PASID_COUNT; pasid += 1) {
    const state = yield* getPasidState(deviceState, pasid);
    if (state === null) continue;
    yield* putPasidState(state);
    // In the kernel's versions the table keeps them, and goes with the device_state.
    if (version().removesLast === true) yield* clearPasidState(deviceState, pasid);
    yield* endState(state);
    yield* putDeviceState(deviceState);
  }
});

/** A device goes, whatever is bound. Sleeps. */
export const amdIommuFreeDevice = fn(function* amdIommuFreeDevice(pdev: AmdDevice) {
  const { stateLock, devices } = globals();
  yield* spinLock(stateLock);
  const place = devices.get(pdev.devid);
  const deviceState = place.state;
  place.state = null;
  yield* spinUnlock(stateLock);
  if (deviceState === null) return;
  yield* freePasidStates(deviceState);
  yield* atomicDec(deviceState.count);
  yield* waitEvent(deviceState.wq, function* () {
    return (yield* atomicRead(deviceState.count)) === 0;
  });
  if (version().removesLast === true) {
    // Whoever put last has let go of the lock, and looks at nothing any more.
    yield* spinLock(deviceState.lock);
    yield* spinUnlock(deviceState.lock);
  }
  yield* kfree(deviceState);
});

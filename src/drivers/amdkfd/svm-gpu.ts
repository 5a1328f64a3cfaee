/**
 * The hardware of SVM: for each PASID a page table of its own, and faults that the GPU tries again (XNACK).
 *
 *     GPU                                   amdkfd
 *     reads or writes an address
 *       no translation: reports a fault --> interrupt: a work takes it
 *       stands still                          maps the page, or does not
 *       tries again, or gives up        <-- answers
 *
 * It knows frames and PASIDs, no mm. Simplified: accesses of one byte, no TLB. Left out: memory of the GPU itself.
 */
import { EFAULT } from '../../base/errno.ts';
import { deviceLoad, deviceStore } from '../../device/access.ts';
import { awaitAnswer, faultQueue, reportFault } from '../../device/fault-queue.ts';
import { deviceTranslations } from '../../device/translations.ts';
import { array } from '../../kernel/array.ts';
import { fn, type KernelCallable } from '../../kernel/call.ts';
import type { Body, Operation } from '../../kernel/operation.ts';
import type { Call } from '../../kernel/call.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { embed, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';

const PASID_COUNT = 4;

const GpuVm = struct('gpu_vm', { translations: deviceTranslations() });

const SvmGpu = struct('svm_gpu', {
  vms: array(PASID_COUNT, embed(GpuVm)),
  faults: faultQueue(),
  /** What the driver has done on a fault. Must not sleep. */
  interrupt: ptr<KernelCallable<[], void>>(),
});
export type SvmGpu = InstanceOf<typeof SvmGpu>;

const gpu = staticObject(SvmGpu);

/** The GPU of the machine. */
export function svmGpu(): SvmGpu {
  return gpu(running);
}

/** The page table of a PASID. */
export function gpuVm(pasid: number) {
  return svmGpu().vms.get(pasid).translations;
}

/** Tries until there is a translation, or the driver says that there will be none: the byte, or -errno. */
function* untilAnswered(
  pasid: number,
  address: number,
  attempt: () => Call<number> | Operation<number>,
  isWrite: boolean,
): Body<number> {
  const { faults, interrupt } = svmGpu();
  for (;;) {
    const byte = yield* attempt() as Call<number>;
    if (byte !== -EFAULT) return byte;
    const fault = yield* reportFault(faults, { address, isWrite, space: pasid });
    if (interrupt === null) return -EFAULT;
    yield* interrupt();
    const answer = yield* awaitAnswer(faults, fault);
    if (answer !== 0) return answer;
  }
}

/** The GPU reads a byte of the address space that PASID stands for: 0 … 255 or -errno. Never sleeps. */
export const svmGpuLoad = fn(function* svmGpuLoad(pasid: number, address: number) {
  return yield* untilAnswered(pasid, address, () => deviceLoad(gpuVm(pasid), address), false);
});

/** The GPU writes a byte; returns the one that was there, or -errno. Never sleeps. */
export const svmGpuStore = fn(function* svmGpuStore(pasid: number, address: number, byte: number) {
  return yield* untilAnswered(pasid, address, () => deviceStore(gpuVm(pasid), address, byte), true);
});

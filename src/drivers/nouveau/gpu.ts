/**
 * The hardware: a GPU with address spaces of its own, whose accesses may fault and be replayed.
 *
 *     engine                                 nouveau
 *     access misses in the page table
 *     fault buffer <- where, how; interrupt
 *       ...                                  takes the faults, maps pages, or does not
 *                                            replay: try again / cancel: give up
 *
 * Modelled: page tables by frame number, the fault buffer, replay and cancel. Simplified: an address space is known
 * by the number of its instance block, and there is one channel for each; each fault is answered by itself; the
 * flush of the GPU's TLB that follows each change of its table is part of the change, so there is no TLB.
 * Left out: the GPU's own memory, engines side by side.
 */
import { deviceFetchAdd, deviceLoad, deviceStore } from '../../device/access.ts';
import { awaitAnswer, faultQueue, reportFault } from '../../device/fault-queue.ts';
import { deviceTranslations } from '../../device/translations.ts';
import { EFAULT } from '../../base/errno.ts';
import { array } from '../../kernel/array.ts';
import { fn, type Call } from '../../kernel/call.ts';
import { raiseIrq } from '../../kernel/interrupt.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { embed, struct, type InstanceOf } from '../../kernel/struct.ts';

/** Address spaces that the GPU can have. */
export const GPU_SPACE_COUNT = 2;
/** The line of the fault buffer. */
export const GPU_FAULT_IRQ = 40;

export const GpuSpace = struct('gpu_space', { translations: deviceTranslations() });
export type GpuSpace = InstanceOf<typeof GpuSpace>;

const Gpu = struct('gpu', {
  spaces: array(GPU_SPACE_COUNT, embed(GpuSpace)),
  faults: faultQueue(),
});
type Gpu = InstanceOf<typeof Gpu>;

const machineGpu = staticObject(Gpu);

/** The GPU of the machine. */
export function gpu(): Gpu {
  return machineGpu(running);
}

/** Repeats an access until it succeeds or its fault is cancelled: what it returns, or -errno. */
function* replayed(
  space: number,
  address: number,
  access: { readonly isWrite: boolean; readonly attempt: () => Call<number> },
) {
  const { faults } = gpu();
  const { isWrite, attempt } = access;
  for (;;) {
    const result = yield* attempt();
    if (result !== -EFAULT) return result;
    const fault = yield* reportFault(faults, { address, isWrite, space });
    yield* raiseIrq(GPU_FAULT_IRQ);
    const answer = yield* awaitAnswer(faults, fault);
    if (answer !== 0) return answer;
  }
}

/** A program on the GPU reads a byte: 0 … 255, or -errno if the fault was cancelled. Device event. */
export const gpuLoad = fn(function* gpuLoad(space: number, address: number) {
  const { translations } = gpu().spaces.get(space);
  const attempt = (): Call<number> => deviceLoad(translations, address);
  return yield* replayed(space, address, { isWrite: false, attempt });
});

/** A program on the GPU writes a byte: what was there, or -errno. Device event. */
export const gpuStore = fn(function* gpuStore(space: number, address: number, byte: number) {
  const { translations } = gpu().spaces.get(space);
  const attempt = (): Call<number> => deviceStore(translations, address, byte);
  return yield* replayed(space, address, { isWrite: true, attempt });
});

/** A program on the GPU adds to a byte: what was there, or -errno. Device event. */
export const gpuFetchAdd = fn(function* gpuFetchAdd(space: number, address: number, by: number) {
  const { translations } = gpu().spaces.get(space);
  const attempt = (): Call<number> => deviceFetchAdd(translations, address, by);
  return yield* replayed(space, address, { isWrite: true, attempt });
});

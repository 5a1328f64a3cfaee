/**
 * The hardware: a GPU with a ring that the driver fills, one that programs fill themselves, and page tables for both.
 *
 *     CS ioctl -> ring "gfx"   -+
 *                               +-> executes: through the page table of the job's VM; signals the job's fence
 *     doorbell -> ring "hsa"   -+
 *
 * Modelled: jobs in order, fences, page tables by frame number, a ring that is halted and goes on. A job whose address
 * does not translate is dropped, and its fence signalled. Simplified: each VM's page table is looked up at every
 * access, there is no TLB; the GPU's own address of memory is the program's; the hardware signals fences itself.
 * Left out: the GPU's memory, several rings of one kind, resets.
 */
import { deviceLoad, deviceStore } from '../../device/access.ts';
import { commandQueue, startEngine, submitCommand } from '../../device/command-queue.ts';
import { dmaFencePut, dmaFenceSignal, type DmaFence } from '../../device/fence.ts';
import { deviceTranslations } from '../../device/translations.ts';
import { array } from '../../kernel/array.ts';
import { atomic, atomicInc } from '../../kernel/atomic.ts';
import { fn } from '../../kernel/call.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { embed, struct, type InstanceOf } from '../../kernel/struct.ts';

/** Address spaces that the GPU can have. */
export const GPU_VM_COUNT = 2;

/** What a program wants of the GPU: bytes, at addresses of its own. */
export type Command =
  | { readonly op: 'write'; readonly address: number; readonly byte: number }
  | { readonly op: 'copy'; readonly from: number; readonly to: number };

/** A command in a ring. */
export interface Job {
  readonly command: Command;
  readonly vm: number;
  /** With a reference, which the hardware gives back; null for a job of a user's own ring. */
  readonly fence: DmaFence | null;
}

const GpuVm = struct('gpu_vm', { translations: deviceTranslations() });

const Gpu = struct('gpu', {
  vms: array(GPU_VM_COUNT, embed(GpuVm)),
  gfx: commandQueue<Job>(),
  hsa: commandQueue<Job>(),
  /** Jobs that were dropped. */
  faults: atomic(0),
});
type Gpu = InstanceOf<typeof Gpu>;

const machineGpu = staticObject(Gpu);

/** The GPU of the machine. */
export function gpu(): Gpu {
  return machineGpu(running);
}

const execute = fn(function* executeJob({ command, vm, fence }: Job) {
  const { vms, faults } = gpu();
  const { translations } = vms.get(vm);
  let byte = command.op === 'write' ? command.byte : yield* deviceLoad(translations, command.from);
  if (byte >= 0) {
    const to = command.op === 'write' ? command.address : command.to;
    byte = yield* deviceStore(translations, to, byte);
  }
  if (byte < 0) yield* atomicInc(faults);
  if (fence === null) return;
  yield* dmaFenceSignal(fence);
  yield* dmaFencePut(fence);
});

/** Powers a ring on. Once. Never sleeps. */
export const startRing = fn(function* startRing(name: 'gfx' | 'hsa') {
  yield* startEngine(gpu()[name] as never, execute as never, name);
});

/** A program writes a command to a ring of its own and rings its doorbell. No system call. Device event. */
export const ringDoorbell = fn(function* ringDoorbell(vm: number, command: Command) {
  yield* submitCommand(gpu().hsa, { command, vm, fence: null });
});

/**
 * The hardware: a GPU with one ring and one table of pages (the GTT).
 *
 *     i915                              GPU
 *     setDeviceEntry(), flush           GTT: page of the GPU -> frame, rights
 *     emitJob({commands, …})  --->      ring: jobs in order
 *                                         each command reads or writes through the GTT
 *     the interrupt handler    <---     job is done
 *
 * It has frame numbers and addresses of its own, and no mm. Modelled: jobs one after the other; a translation that is
 * kept in the TLB until it is flushed. Simplified: a command is of one byte, or copies one; what does not translate is
 * dropped and counted; the interrupt handler runs on the engine's own task, at the end of the job. Left out: several
 * engines, contexts, preemption, hangs.
 */
import { deviceCompareSwap, deviceFetchAdd, deviceLoad, deviceStore } from '../../device/access.ts';
import { commandQueue, startEngine, submitCommand } from '../../device/command-queue.ts';
import { deviceTranslations } from '../../device/translations.ts';
import { atomic, atomicInc } from '../../kernel/atomic.ts';
import { fn, type KernelCallable } from '../../kernel/call.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { field, struct, type InstanceOf } from '../../kernel/struct.ts';
import type { DmaFence } from '../../device/fence.ts';
import type { DrmI915GemObject } from './i915.ts';

/** Pages that the GTT can translate. */
export const GTT_PAGE_COUNT = 8;

/** What a job does, with addresses of the GPU in bytes. */
export type GpuCommand =
  | { readonly op: 'write'; readonly to: number; readonly byte: number }
  | { readonly op: 'add'; readonly to: number; readonly addend: number }
  | {
      readonly op: 'compare-swap';
      readonly to: number;
      readonly expected: number;
      readonly desired: number;
    }
  | { readonly op: 'copy'; readonly from: number; readonly to: number };

/** struct i915_request, as far as the hardware and its interrupt handler need it. */
export interface Job {
  readonly commands: readonly GpuCommand[];
  /** With a reference. */
  readonly fence: DmaFence;
  /** Each with a reference. */
  readonly objects: readonly DrmI915GemObject[];
  /** What the interrupt handler does. Must not sleep. */
  readonly retire: KernelCallable<[Job], void>;
}

export const Gpu = struct('gpu', {
  ring: commandQueue<Job>(),
  gtt: deviceTranslations({ hasTlb: true }),
  /** Accesses that did not translate. */
  faults: atomic(0),
  /** True once it is powered on. */
  isOn: field(false),
});
export type Gpu = InstanceOf<typeof Gpu>;

const machineGpu = staticObject(Gpu);

/** The GPU of the machine. */
export function gpu(): Gpu {
  return machineGpu(running);
}

const execute = fn(
  function* execute(command: GpuCommand) {
    const { gtt } = gpu();
    if (command.op === 'write') return yield* deviceStore(gtt, command.to, command.byte);
    if (command.op === 'add') return yield* deviceFetchAdd(gtt, command.to, command.addend);
    if (command.op === 'compare-swap') return yield* deviceCompareSwap(gtt, command.to, command);
    const byte = yield* deviceLoad(gtt, command.from);
    return byte < 0 ? byte : yield* deviceStore(gtt, command.to, byte);
  },
  { name: 'gpu_execute' },
);

const executeJob = fn(
  function* executeJob(job: Job) {
    for (const command of job.commands) {
      if ((yield* execute(command)) < 0) yield* atomicInc(gpu().faults);
    }
    yield* job.retire(job);
  },
  { name: 'gpu_job' },
);

/** Powers the GPU on, if it is not. Never sleeps. */
export const powerOn = fn(
  function* powerOn() {
    const it = gpu();
    if (it.isOn) return;
    it.isOn = true;
    yield* startEngine(it.ring as never, executeJob as never, 'gpu');
  },
  { name: 'gpu_power_on' },
);

/** Writes a job to the ring; it takes over the job's references. Never sleeps. */
export const emitJob = fn(
  function* emitJob(job: Job) {
    yield* submitCommand(gpu().ring, job);
  },
  { name: 'i915_request_submit' },
);

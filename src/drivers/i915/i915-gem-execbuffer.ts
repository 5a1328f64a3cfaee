/**
 * Submission: DRM_I915_GEM_EXECBUFFER2.
 *
 *     v5.x                                          v6.1
 *     look the buffers up                           look the buffers up
 *                                                   submit_init: look pages up, without a lock
 *     struct_mutex                                  reserve all
 *       pin the pages (getting them), bind, pin       pin the pages (that are there), bind
 *       allocate the request                        allocate the request
 *       leave its fence in each buffer              leave its fence in each buffer
 *                                                     submit_done: are the pages still good?
 *       to the ring                                 to the ring
 *     unlock                                        unreserve
 *
 * Whoever lets go of pages waits for the fence, which is there before the pages are asked for the last time.
 */
import { EINTR, ENOENT, ENOMEM } from '../../base/errno.ts';
import { dmaFenceAlloc, dmaFencePut, dmaFenceSignal, type DmaFence } from '../../device/fence.ts';
import { atomicDec, atomicDecAndTest, atomicInc } from '../../kernel/atomic.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLockNested } from '../../kernel/mutex.ts';
import { wakeUpAll } from '../../kernel/wait.ts';
import { PAGE_SIZE } from '../../mm-types/mm-struct.ts';
import { emitJob, type GpuCommand, type Job } from './gpu.ts';
import { addFence, vmaBind } from './i915-gem-gtt.ts';
import {
  i915GemObjectGet,
  i915GemObjectPinPages,
  i915GemObjectPut,
  lockBinding,
  unlockBinding,
} from './i915-gem-object.ts';
import { i915GemObjectLookup } from './i915-gem-ioctl.ts';
import { globals, i915, type DrmFile, type DrmI915GemObject } from './i915.ts';

const { fn } = i915;

/** A place: byte `offset` of the buffer with that handle. */
export interface BufferPlace {
  readonly handle: number;
  readonly offset: number;
}

/** What a program has the GPU do. */
export type I915Command =
  | { readonly op: 'write'; readonly to: BufferPlace; readonly byte: number }
  | { readonly op: 'add'; readonly to: BufferPlace; readonly addend: number }
  | {
      readonly op: 'compare-swap';
      readonly to: BufferPlace;
      readonly expected: number;
      readonly desired: number;
    }
  | { readonly op: 'copy'; readonly from: BufferPlace; readonly to: BufferPlace };

/** What a submission has got so far. */
interface Execbuffer {
  readonly objects: Map<number, DrmI915GemObject>;
  /** Those that are locked; v5.x: empty, or all, by one lock. */
  readonly locked: DrmI915GemObject[];
  /** Those that are bound and stay so. */
  readonly pinned: DrmI915GemObject[];
}

function placesOf(command: I915Command): readonly BufferPlace[] {
  return command.op === 'copy' ? [command.from, command.to] : [command.to];
}

/** Looks all buffers up: 0 or -ENOENT. */
const ebLookupVmas = fn(function* ebLookupVmas(
  { objects }: Execbuffer,
  file: DrmFile,
  commands: readonly I915Command[],
) {
  for (const { handle } of commands.flatMap((one) => placesOf(one))) {
    if (objects.has(handle)) continue;
    const obj = yield* i915GemObjectLookup(file, handle);
    if (obj === null) return -ENOENT;
    objects.set(handle, obj);
  }
  return 0;
});

/** Locks the first, or, if each has a lock of its own, all: 0 or -EINTR. */
const ebLock = fn(
  function* ebLock({ objects, locked }: Execbuffer) {
    const isOne = globals().userptr!.locks === 'struct_mutex';
    const byAddress = [...objects.values()].toSorted((a, b) => a.address - b.address);
    for (const obj of isOne ? byAddress.slice(0, 1) : byAddress) {
      if (locked.length > 0) yield* mutexLockNested(obj.resv, 1);
      else if ((yield* lockBinding(obj)) !== 0) return -EINTR;
      locked.push(obj);
    }
    return 0;
  },
  { name: 'eb_lock_vmas' },
);

/** Has a buffer bound, and keeps it so: 0 or -errno. What bindings are under is held. */
const ebReserveVma = fn(function* ebReserveVma(eb: Execbuffer, obj: DrmI915GemObject) {
  if (obj.gttStart < 0) {
    const error = yield* i915GemObjectPinPages(obj);
    if (error !== 0) return error;
    const full = yield* vmaBind(obj);
    if (full !== 0) {
      yield* atomicDec(obj.pagesPinCount);
      return full;
    }
  }
  obj.vmaPinCount += 1;
  eb.pinned.push(obj);
  return 0;
});

const ebReserve = fn(function* ebReserve(eb: Execbuffer) {
  for (const obj of eb.objects.values()) {
    const error = yield* ebReserveVma(eb, obj);
    if (error !== 0) return error;
  }
  return 0;
});

/** With the addresses where the buffers are bound. */
function relocated(eb: Execbuffer, command: I915Command): GpuCommand {
  const at = ({ handle, offset }: BufferPlace): number =>
    (eb.objects.get(handle) as DrmI915GemObject).gttStart * PAGE_SIZE + offset;
  if (command.op === 'copy') return { ...command, from: at(command.from), to: at(command.to) };
  return { ...command, to: at(command.to) };
}

/** The interrupt handler, at the end of a job. Must not sleep. */
const i915RequestRetire = fn(function* i915RequestRetire({ fence, objects }: Job) {
  yield* dmaFenceSignal(fence);
  yield* dmaFencePut(fence);
  for (const obj of objects) yield* i915GemObjectPut(obj);
  const { jobCount, idle } = globals();
  if (yield* atomicDecAndTest(jobCount)) yield* wakeUpAll(idle);
});

/** Leaves the fence in each buffer, and has the job keep them. */
const ebMoveToGpu = fn(function* ebMoveToGpu(
  eb: Execbuffer,
  commands: readonly I915Command[],
  fence: DmaFence,
) {
  const written = new Set(commands.map(({ to }) => to.handle));
  for (const [handle, obj] of eb.objects) {
    yield* i915GemObjectGet(obj);
    yield* addFence(obj, fence);
    if (written.has(handle)) obj.isDirty = true;
  }
});

/** Hands the job to the GPU: 0; or, if pages are old by now, -EAGAIN, and the job does nothing. */
const ebSubmit = fn(function* ebSubmit(eb: Execbuffer, commands: readonly I915Command[]) {
  const fence = yield* dmaFenceAlloc(GFP_KERNEL);
  if (fence === null) return -ENOMEM;
  yield* ebMoveToGpu(eb, commands, fence);
  const objects = [...eb.objects.values()];
  yield* atomicInc(globals().jobCount);
  const { submitDone } = globals().userptr!;
  const error = submitDone === undefined ? 0 : yield* submitDone(objects);
  const job: Job = {
    commands: commands.map((command) => relocated(eb, command)),
    fence,
    objects,
    retire: i915RequestRetire,
  };
  // What was left behind must be signalled in any case.
  if (error === 0) yield* emitJob(job);
  else yield* i915RequestRetire(job);
  return error;
});

const execbuffer = fn(
  function* execbuffer(eb: Execbuffer, file: DrmFile, commands: readonly I915Command[]) {
    const missing = yield* ebLookupVmas(eb, file, commands);
    if (missing !== 0) return missing;
    const { submitInit } = globals().userptr!;
    for (const obj of eb.objects.values()) {
      const error = submitInit === undefined || !obj.isUserptr ? 0 : yield* submitInit(obj);
      if (error !== 0) return error;
    }
    let error = yield* ebLock(eb);
    if (error === 0) error = yield* ebReserve(eb);
    return error === 0 ? yield* ebSubmit(eb, commands) : error;
  },
  { name: 'i915_gem_do_execbuffer' },
);

/**
 * `DRM_I915_GEM_EXECBUFFER2`: 0 when the job is queued; -EAGAIN if pages are being looked up, or have changed meanwhile;
 * -ENOENT, -ENOMEM, -ENOSPC, -EINTR, and -EFAULT for memory that is not there. May sleep.
 */
export const i915GemExecbuffer2Ioctl = fn(function* i915GemExecbuffer2Ioctl(
  file: DrmFile,
  commands: readonly I915Command[],
) {
  const eb: Execbuffer = { objects: new Map(), locked: [], pinned: [] };
  const error = yield* execbuffer(eb, file, commands);
  for (const obj of eb.pinned) obj.vmaPinCount -= 1;
  for (const obj of eb.locked) yield* unlockBinding(obj);
  for (const obj of eb.objects.values()) yield* i915GemObjectPut(obj);
  return error;
});

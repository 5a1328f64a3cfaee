/** Command submission: a BO, and what the GPU is to do with it. */
import { EAGAIN, ENOENT, ENOMEM } from '../../base/errno.ts';
import { submitCommand } from '../../device/command-queue.ts';
import {
  dmaFenceAlloc,
  dmaFenceGet,
  dmaFencePut,
  dmaFenceWait,
  type DmaFence,
} from '../../device/fence.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { amdgpu, globals, type AmdgpuBo, type AmdgpuFpriv } from './amdgpu-priv.ts';
import { findBo } from './amdgpu-gem.ts';
import {
  amdgpuBoUpdate,
  amdgpuTtmTtGetUserPages,
  amdgpuTtmTtGetUserPagesDone,
  hasNewPages,
} from './amdgpu-ttm.ts';
import { gpu, type Command } from './gpu.ts';

const { fn } = amdgpu;

/** A submission: the BO that the command uses. */
export interface Submission {
  readonly handle: number;
  readonly command: Command;
}

/** The GPU has the pages that the program has: 0 or -errno, with `bo.range` kept if 0. The BO is reserved. */
const amdgpuCsParserBos = fn(function* amdgpuCsParserBos(bo: AmdgpuBo) {
  const error = yield* amdgpuTtmTtGetUserPages(bo);
  if (error !== 0) return error;
  if (!hasNewPages(bo)) return 0;
  // Jobs that were submitted before use the pages of then.
  if (bo.fence !== null) yield* dmaFenceWait(bo.fence);
  yield* amdgpuBoUpdate(bo, bo.range!.pfns);
  return 0;
});

/** Invalidations are held off: hands the job to the hardware if the pages are still the program's, else -EAGAIN. */
function* submitLocked(bo: AmdgpuBo, { command }: Submission, fence: DmaFence): Body<number> {
  if (!(yield* amdgpuTtmTtGetUserPagesDone(bo))) return -EAGAIN;
  const before = bo.fence;
  yield* dmaFenceGet(fence);
  bo.fence = fence;
  yield* submitCommand(gpu().gfx, { command, vm: bo.fpriv!.vm, fence });
  if (before !== null) yield* dmaFencePut(before);
  return 0;
}

/** `amdgpu_cs_submit`: takes the reference to `fence` over if it returns 0. The BO is reserved. */
const amdgpuCsSubmit = fn(function* amdgpuCsSubmit(
  bo: AmdgpuBo,
  submission: Submission,
  fence: DmaFence,
) {
  const { version } = globals();
  yield* version!.lock(bo);
  const error = yield* submitLocked(bo, submission, fence);
  yield* version!.unlock(bo);
  return error;
});

/** The same, for a BO that is reserved. */
const submitReserved = fn(
  function* submitReserved(bo: AmdgpuBo, submission: Submission) {
    // No allocation is allowed later.
    const fence = yield* dmaFenceAlloc(GFP_KERNEL);
    if (fence === null) return -ENOMEM;
    let error = yield* amdgpuCsParserBos(bo);
    if (error === 0) error = yield* amdgpuCsSubmit(bo, submission, fence);
    if (error !== 0) yield* dmaFencePut(fence);
    return error;
  },
  { name: 'amdgpu_cs_ioctl' },
);

/**
 * The ioctl CS: 0; -EAGAIN if the program's memory changed meanwhile, so that it is to be tried again; -ENOENT; -ENOMEM;
 * what looking the pages up returned. May sleep.
 */
export const amdgpuCsIoctl = fn(function* amdgpuCsIoctl(
  fpriv: AmdgpuFpriv,
  submission: Submission,
) {
  yield* mutexLock(fpriv.lock);
  const bo = findBo(fpriv, submission.handle);
  let error = -ENOENT;
  if (bo !== null) {
    yield* mutexLock(bo.resv);
    error = yield* submitReserved(bo, submission);
    yield* mutexUnlock(bo.resv);
  }
  yield* mutexUnlock(fpriv.lock);
  return error;
});

/** The ioctl GEM_WAIT_IDLE: 0 when no job uses the BO, or -ENOENT. May sleep. */
export const amdgpuGemWaitIdle = fn(function* amdgpuGemWaitIdle(
  fpriv: AmdgpuFpriv,
  handle: number,
) {
  yield* mutexLock(fpriv.lock);
  const bo = findBo(fpriv, handle);
  if (bo !== null && bo.fence !== null) yield* dmaFenceWait(bo.fence);
  yield* mutexUnlock(fpriv.lock);
  return bo === null ? -ENOENT : 0;
});

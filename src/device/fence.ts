/**
 * struct dma_fence: a promise of the device that a job is done.
 *
 * Modelled: it is signalled once, by the device or by its interrupt handler; waiting for it takes no timeout and
 * no signal; it is refcounted, since a driver and a job both have it. Left out: callbacks, contexts and sequence
 * numbers, errors.
 */
import {
  completeAll,
  completion,
  completionDone,
  waitForCompletion,
} from '../kernel/completion.ts';
import { fn } from '../kernel/call.ts';
import type { Gfp } from '../kernel/gfp.ts';
import { kref, krefGet, krefInit, krefPut, type Kref } from '../kernel/kref.ts';
import type { Operation } from '../kernel/operation.ts';
import { kfree, kzalloc } from '../kernel/slab.ts';
import { containerOf, struct, type InstanceOf } from '../kernel/struct.ts';

/** `struct dma_fence`: signalled once, waited for by anybody, gone with its last reference. */
export const DmaFence = struct('dma_fence', { refcount: kref(), signalled: completion() });
export type DmaFence = InstanceOf<typeof DmaFence>;

/** A fence that is not signalled, with one reference; NULL without memory. Sleeps unless `gfp` says otherwise. */
export const dmaFenceAlloc = fn(function* dmaFenceAlloc(gfp: Gfp) {
  const fence = yield* kzalloc(DmaFence, gfp);
  if (fence !== null) krefInit(fence.refcount);
  return fence;
});

const dmaFenceRelease = fn(function* dmaFenceRelease(ref: Kref) {
  yield* kfree(containerOf(ref, DmaFence, 'refcount'));
});

/** `dma_fence_get(fence)`, by who has a reference. */
export function dmaFenceGet(fence: DmaFence) {
  return krefGet(fence.refcount);
}

/** `dma_fence_put(fence)`: the last reference frees it. Never sleeps. */
export function dmaFencePut(fence: DmaFence) {
  return krefPut(fence.refcount, dmaFenceRelease);
}

/** `dma_fence_signal(fence)`: the job is done. Never sleeps. */
export function dmaFenceSignal(fence: DmaFence): Operation<void> {
  return completeAll(fence.signalled);
}

/** `dma_fence_is_signaled(fence)`. Never sleeps. */
export function dmaFenceIsSignaled(fence: DmaFence): Operation<boolean> {
  return completionDone(fence.signalled);
}

/** `dma_fence_wait(fence, false)`. May sleep. Pairs with {@link dmaFenceSignal}. */
export function dmaFenceWait(fence: DmaFence): Operation<boolean> {
  return waitForCompletion(fence.signalled);
}

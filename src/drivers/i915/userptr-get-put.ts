/**
 * i915_gem_userptr.c as the cover letter would have it: mmu_notifier_get and _put in place of the hash and of the work.
 * No kernel had it.
 *
 * Each buffer that is watched has a get; the mm is the notifier's. The last put needs no worker, for it waits for
 * nothing, and module exit waits for what is left (mmu_notifier_synchronize), after it has waited for buffers that start
 * still holds (v5.3 does not, A-84). What the callback does is as before.
 */
import { ENOMEM } from '../../base/errno.ts';
import { errPtr, isErr, ptrErr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierGet, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { i915, I915MmuNotifier, type DrmI915GemObject, type UserptrVersion } from './i915.ts';
import {
  addMmuObject,
  i915GemUserptrGetPages,
  putPagesWith,
  removeMmuObject,
  userptrMnInvalidateRangeStart,
} from './userptr-tree.ts';

const { fn } = i915;

/** `alloc_notifier`: mmap_sem is held for write. */
const allocNotifier = fn(
  function* allocNotifier(_mm: MmStruct) {
    const mn = yield* kzalloc(I915MmuNotifier, GFP_KERNEL);
    return mn === null ? errPtr(-ENOMEM) : mn.mn;
  },
  { name: 'i915_mmu_notifier_alloc' },
);

/** From an SRCU callback: must not sleep. */
const freeNotifier = fn(
  function* freeNotifier(mn: MmuNotifier) {
    yield* kfree(containerOf(mn, I915MmuNotifier, 'mn'));
  },
  { name: 'i915_mmu_notifier_free' },
);

const ops: MmuNotifierOps = {
  invalidateRangeStart: userptrMnInvalidateRangeStart,
  allocNotifier,
  freeNotifier,
};

const init = fn(
  function* init(obj: DrmI915GemObject) {
    const mm = current().mm as MmStruct;
    if (obj.isUnsynchronized) {
      yield* mmgrab(mm);
      obj.usermm = mm;
      return 0;
    }
    const mn = yield* mmuNotifierGet(ops, mm);
    if (isErr(mn)) return ptrErr(mn);
    // The mm_struct is there as long as the get is.
    obj.usermm = mm;
    const error = yield* addMmuObject(obj, containerOf(mn, I915MmuNotifier, 'mn'));
    if (error !== 0) yield* mmuNotifierPut(mn);
    return error;
  },
  { name: 'i915_gem_userptr_init__mmu_notifier' },
);

const release = fn(
  function* release(obj: DrmI915GemObject) {
    const mn = obj.mmuObject?.mn ?? null;
    if (mn !== null) {
      yield* removeMmuObject(obj);
      yield* mmuNotifierPut(mn.mn);
    } else if (obj.isUnsynchronized && obj.usermm !== null) {
      yield* mmdrop(obj.usermm);
    }
  },
  { name: 'i915_gem_userptr_release' },
);

export const userptrGetPut: UserptrVersion = {
  init,
  release,
  getPages: i915GemUserptrGetPages,
  putPages: putPagesWith('trylock'),
  locks: 'struct_mutex',
  knowsUnsynchronized: true,
  waitsForBuffers: true,
};

/**
 * i915_gem_userptr.c of v5.3, and of v5.0: who is watched is found by a hash.
 *
 * An i915_mm_struct for each mm, kept by its buffers, with the notifier in it as soon as one is to be watched. The last
 * buffer of an mm takes it out of the hash, and leaves the rest to a work: the notifier must not be unregistered, nor
 * the mm be dropped, by who holds struct_mutex.
 *
 *     find or make       mm_lock
 *     register           mmap_sem (write), mm_lock; whoever comes second finds that it is done
 *     last put           mm_lock: out of the hash; a work: mmu_notifier_unregister, mmdrop, kfree
 */
import { ENOMEM } from '../../base/errno.ts';
import { errPtr, isErr, ptrErr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { dataRace, dataRaceWrite } from '../../kernel/field.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { hashAdd, hashDel, hashForEachPossible } from '../../kernel/hash-table.ts';
import { krefGet, krefInit, krefPutMutex, type Kref } from '../../kernel/kref.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downWrite, upWrite } from '../../kernel/rwsem.ts';
import { kfree, kmalloc, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import {
  allocWorkqueue,
  destroyWorkqueue,
  initWork,
  queueWork,
  type WorkStruct,
} from '../../kernel/workqueue.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierRegisterLockedV53 } from '../../mmu-notifier/before-series.ts';
import type { MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import {
  globals,
  i915,
  I915MmStruct,
  I915MmuNotifier,
  type DrmI915GemObject,
  type UserptrVersion,
} from './i915.ts';
import {
  addMmuObject,
  i915GemUserptrGetPages,
  putPagesWith,
  removeMmuObject,
  userptrMnInvalidateRangeStart,
} from './userptr-tree.ts';
import { userptrMnInvalidateRangeStartV50 } from './userptr-v50.ts';

const { fn } = i915;

// ---- i915_mm_struct ------------------------------------------------------------------------------

/** mm_lock is held. */
function find(real: MmStruct): I915MmStruct | null {
  const { mmStructs } = globals();
  for (const mm of hashForEachPossible(mmStructs, I915MmStruct, 'node', real.address)) {
    if (mm.mm === real) return mm;
  }
  return null;
}

/** What there is for current's mm, made if there is nothing, for one buffer more: 0 or -ENOMEM. May sleep. */
const initMmStruct = fn(
  function* initMmStruct(obj: DrmI915GemObject) {
    const device = globals();
    const real = current().mm as MmStruct;
    yield* mutexLock(device.mmLock);
    let mm = find(real);
    if (mm === null) {
      mm = yield* kmalloc(I915MmStruct, GFP_KERNEL);
      if (mm !== null) {
        krefInit(mm.kref);
        mm.mm = real;
        yield* mmgrab(real);
        hashAdd(device.mmStructs, mm.node, real.address);
      }
    } else {
      yield* krefGet(mm.kref);
    }
    obj.mm = mm;
    yield* mutexUnlock(device.mmLock);
    return mm === null ? -ENOMEM : 0;
  },
  { name: 'i915_gem_userptr_init__mm_struct' },
);

const i915MmuNotifierFree = fn(function* i915MmuNotifierFree(mn: I915MmuNotifier, mm: MmStruct) {
  yield* mmuNotifierUnregister(mn.mn, mm);
  if (mn.wq !== null) yield* destroyWorkqueue(mn.wq);
  yield* kfree(mn);
});

const freeMmStructWorker = fn(
  function* freeMmStructWorker(work: WorkStruct) {
    const mm = containerOf(work, I915MmStruct, 'work');
    // Nobody stores it any more.
    const mn = yield* dataRace(mm, 'mn');
    if (mn !== null) yield* i915MmuNotifierFree(mn, mm.mm!);
    yield* mmdrop(mm.mm!);
    yield* kfree(mm);
  },
  { name: '__i915_mm_struct_free__worker' },
);

/** The last buffer is gone. mm_lock is held, and given back. */
const freeMmStruct = fn(
  function* freeMmStruct(ref: Kref) {
    const device = globals();
    const mm = containerOf(ref, I915MmStruct, 'kref');
    hashDel(mm.node);
    yield* mutexUnlock(device.mmLock);
    initWork(mm.work, freeMmStructWorker);
    yield* queueWork(device.userptrWq!, mm.work);
  },
  { name: '__i915_mm_struct_free' },
);

const releaseMmStruct = fn(
  function* releaseMmStruct(obj: DrmI915GemObject) {
    const { mm } = obj;
    if (mm === null) return;
    yield* krefPutMutex(mm.kref, freeMmStruct, globals().mmLock);
    obj.mm = null;
  },
  { name: 'i915_gem_userptr_release__mm_struct' },
);

// ---- the notifier --------------------------------------------------------------------------------

interface Differences {
  readonly ops: MmuNotifierOps;
  /** v5.0: start has works do it, on a queue of the notifier's own. */
  readonly hasWorkqueue: boolean;
}

/** A version, by what differs in it. */
function watching({ ops, hasWorkqueue }: Differences) {
  const i915MmuNotifierCreate = fn(function* i915MmuNotifierCreate() {
    const mn = yield* kzalloc(I915MmuNotifier, GFP_KERNEL);
    if (mn === null) return null;
    mn.mn.ops = ops;
    if (!hasWorkqueue) return mn;
    mn.wq = yield* allocWorkqueue('i915-userptr-release');
    if (mn.wq !== null) return mn;
    yield* kfree(mn);
    return null;
  });

  /** Registers `fresh` unless somebody was faster: 0 or -errno. mmap_sem (write) and mm_lock are held. */
  const install = fn(
    function* install(mm: I915MmStruct, fresh: I915MmuNotifier | null) {
      if (mm.mn !== null) return false;
      if (fresh === null) return -ENOMEM;
      const error = yield* mmuNotifierRegisterLockedV53(fresh.mn, mm.mm!);
      if (error !== 0) return error;
      // Who has one already looks without a lock.
      yield* dataRaceWrite(mm, 'mn', fresh);
      return true;
    },
    { name: 'i915_mmu_notifier_find' },
  );

  /** The notifier of an mm, registered if there is none; ERR_PTR(-ENOMEM, -EINTR). May sleep. */
  const i915MmuNotifierFind = fn(function* i915MmuNotifierFind(
    mm: I915MmStruct,
  ): Body<I915MmuNotifier | ErrPtr> {
    const known = yield* dataRace(mm, 'mn');
    if (known !== null) return known;
    const device = globals();
    const fresh = yield* i915MmuNotifierCreate();
    yield* downWrite(mm.mm!.mmapSem);
    yield* mutexLock(device.mmLock);
    const result = yield* install(mm, fresh);
    const { mn } = mm;
    yield* mutexUnlock(device.mmLock);
    yield* upWrite(mm.mm!.mmapSem);
    if (result !== true && fresh !== null) {
      if (fresh.wq !== null) yield* destroyWorkqueue(fresh.wq);
      yield* kfree(fresh);
    }
    return typeof result === 'number' ? errPtr(result) : mn!;
  });

  const init = fn(
    function* init(obj: DrmI915GemObject) {
      const error = yield* initMmStruct(obj);
      if (error !== 0) return error;
      obj.usermm = obj.mm!.mm;
      if (obj.isUnsynchronized) return 0;
      const mn = yield* i915MmuNotifierFind(obj.mm!);
      return isErr(mn) ? ptrErr(mn) : yield* addMmuObject(obj, mn);
    },
    { name: 'i915_gem_userptr_init' },
  );

  const release = fn(
    function* release(obj: DrmI915GemObject) {
      yield* removeMmuObject(obj);
      yield* releaseMmStruct(obj);
    },
    { name: 'i915_gem_userptr_release' },
  );

  return {
    init,
    release,
    getPages: i915GemUserptrGetPages,
    locks: 'struct_mutex',
    knowsUnsynchronized: true,
  } as const;
}

const byItself = watching({
  ops: { invalidateRangeStart: userptrMnInvalidateRangeStart },
  hasWorkqueue: false,
});

/** v5.3: pages are marked dirty under their lock (aa56a292ce62). */
export const userptrV53: UserptrVersion = { ...byItself, putPages: putPagesWith('lock') };

/** v5.3 with 2d691aeca4ae: only under a lock that is free. */
export const userptrTrylock: UserptrVersion = { ...byItself, putPages: putPagesWith('trylock') };

/** v5.0, before 484d9a844d0d: start waits for works that take struct_mutex. Pages are marked without their lock. */
export const userptrV50: UserptrVersion = {
  ...watching({
    ops: { invalidateRangeStart: userptrMnInvalidateRangeStartV50 },
    hasWorkqueue: true,
  }),
  putPages: putPagesWith('plainly'),
};

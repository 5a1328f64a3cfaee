/**
 * amdgpu's user pointers: its structures.
 *
 * A program hands the GPU memory of its own as a buffer object (BO). Nobody references the pages: what keeps the GPU
 * from pages that are gone is that the driver hears of changes, and then either waits until the GPU is done with the
 * BO (GFX: the next command submission looks the pages up anew), or stops the program's queues until it has done so
 * itself (HSA: programs submit without asking).
 *
 *     amdgpu_device { mn_lock, mn_hash }
 *        -> amdgpu_mn, one for each (mm, type) { mirror, lock, objects }     v5.3, v5.4
 *              -> amdgpu_mn_node [start, last] { bos }
 *     amdgpu_bo { notifier }                                                 v5.5
 *
 * Modelled: user pointers of both types, their nodes, command submission and its fences, eviction and restoring.
 * Simplified: one GPU; a BO is mapped at the program's own address, in the VM of its file; a submission names one BO
 * and is reserved with it from the look-up of its pages on; the ioctls of /dev/kfd that concern memory are here.
 * Left out: other memory than user pointers, scheduling, several GPUs.
 */
import type { DmaFence } from '../../device/fence.ts';
import { atomic } from '../../kernel/atomic.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { hashTable } from '../../kernel/hash-table.ts';
import { hlistNode } from '../../kernel/hlist.ts';
import { intervalTreeNode, intervalTreeRoot } from '../../kernel/interval-tree.ts';
import { listHead } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { rwsem } from '../../kernel/rwsem.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { delayedWork, workStruct } from '../../kernel/workqueue.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { TaskStruct } from '../../mm-types/task-struct.ts';
import { MmuIntervalNotifier } from '../../mmu-notifier/interval.ts';
import { HmmMirror, type HmmPfn, type HmmRange } from '../hmm/index.ts';

export const amdgpu = moduleText('amdgpu');

/** What a buffer is for: command submission, or queues of programs. */
export type AmdgpuMnType = 'GFX' | 'HSA';

/** struct amdgpu_mn: a mirror of one mm, for BOs of one type. Lives until the mm ends. v5.3, v5.4. */
export const AmdgpuMn = struct('amdgpu_mn', {
  /** The key, with `type`. Pinned by the mirror. Constant. */
  mm: ptr<MmStruct>(),
  type: field<AmdgpuMnType>('GFX'),
  work: workStruct(),
  /** In amdgpu_device.mn_hash. */
  node: hlistNode(),
  /** Protects `objects`. Read: by callbacks. Write: by submissions, at the moment at which they are made. */
  lock: rwsem(),
  /** Of amdgpu_mn_node. */
  objects: intervalTreeRoot(),
  mirror: embed(HmmMirror),
});
export type AmdgpuMn = InstanceOf<typeof AmdgpuMn>;

/** struct amdgpu_mn_node: BOs that overlap. */
export const AmdgpuMnNode = struct('amdgpu_mn_node', { it: intervalTreeNode(), bos: listHead() });
export type AmdgpuMnNode = InstanceOf<typeof AmdgpuMnNode>;

/** struct amdkfd_process_info: what the HSA buffers of an open file share. */
export const AmdkfdProcessInfo = struct('amdkfd_process_info', {
  /** Protects the BOs' pages and what the GPU has of them. */
  lock: mutex(),
  /** Of amdgpu_bo. */
  userptrList: listHead(),
  /** Evictions since the queues ran last. */
  evictedBos: atomic(0),
  restoreUserptrWork: delayedWork(),
  /** Pinned. */
  pid: ptr<TaskStruct>(),
  hasRing: field(false),
});
export type AmdkfdProcessInfo = InstanceOf<typeof AmdkfdProcessInfo>;

/** struct amdgpu_fpriv: an open file. */
export const AmdgpuFpriv = struct('amdgpu_fpriv', {
  lock: mutex(),
  /** Of amdgpu_bo. Under `lock`, as the handles. */
  bos: listHead(),
  handleCount: 0,
  /** The GPU's number of its address space. Constant. */
  vm: 0,
  processInfo: embed(AmdkfdProcessInfo),
});
export type AmdgpuFpriv = InstanceOf<typeof AmdgpuFpriv>;

/** struct amdgpu_bo: a user pointer. */
export const AmdgpuBo = struct('amdgpu_bo', {
  /** In amdgpu_fpriv.bos. */
  list: listHead(),
  fpriv: ptr<AmdgpuFpriv>(),
  handle: 0,
  type: field<AmdgpuMnType>('GFX'),
  /** [userptr, end) in bytes. Constant. */
  userptr: 0,
  end: 0,
  flags: 0,
  /** The reservation: protects what the GPU has of the BO. */
  resv: mutex(),
  /** What the GPU has of it, a page each. Under `resv`. */
  pages: ptr<readonly HmmPfn[]>(),
  /** Of a look-up that is not over. Under `resv`. */
  range: ptr<HmmRange>(),
  /** The last job that uses it, or NULL. Changed under the lock that callbacks take. */
  fence: ptr<DmaFence>(),
  /** v5.3: who hears for it. Under `mn_lock`. */
  mn: ptr<AmdgpuMn>(),
  mnList: listHead(),
  /** v5.5: its own notifier; `mm` is NULL if it has none. */
  notifier: embed(MmuIntervalNotifier),
  /** HSA: in amdkfd_process_info.userptr_list, and how often it was invalidated since it was looked up. */
  validateList: listHead(),
  invalid: atomic(0),
});
export type AmdgpuBo = InstanceOf<typeof AmdgpuBo>;

/** How a BO is kept up with the mm. */
export interface AmdgpuMnVersion {
  /** From now on changes of the BO's memory are heard of. 0 or -errno. May sleep. */
  readonly register: KernelCallable<[AmdgpuBo], number>;
  /** No more, if they were. May sleep. */
  readonly unregister: KernelCallable<[AmdgpuBo], void>;
  /** Holds invalidations of the BO off; no allocation under it. May sleep. */
  readonly lock: KernelCallable<[AmdgpuBo], void>;
  readonly unlock: KernelCallable<[AmdgpuBo], void>;
  /** The mm of the BO, or NULL if it is not registered. */
  readonly mmOf: (bo: AmdgpuBo) => MmStruct | null;
  /** Begins to look pages up: 0 or -errno. */
  readonly beginRange: KernelCallable<[AmdgpuBo, HmmRange], number>;
  /** Before each attempt. Sleeps. */
  readonly waitForRange: KernelCallable<[HmmRange], void>;
  /** Whether what was looked up is true. Means something under `lock`. */
  readonly isRangeValid: KernelCallable<[HmmRange], boolean>;
  readonly endRange: KernelCallable<[HmmRange], void>;
}

/** struct amdgpu_device, and what else the module has. */
export const globals = amdgpu.data({
  /** Protects `mnHash`, and which mn a BO has. Taken outside mmap_sem; callbacks never take it. */
  mnLock: mutex(),
  mnHash: hashTable(3),
  /** v5.5: the lock of all BOs' notifiers. */
  notifierLock: mutex(),
  vmLock: mutex(),
  vmBitmap: 0,
  /** Constant once init is over. */
  version: ptr<AmdgpuMnVersion>(),
});

/**
 * amdkfd, the compute side of the amdgpu driver: its structures and globals.
 *
 * One kfd_process for each process that opened /dev/kfd. KFD registers a notifier with `release` only:
 * it wants to know when the process dies, to free what the process holds of the hardware.
 *
 * Modelled: the process's life (creation and its unwind, lookup, teardown), its queues, which a GPU executes
 * through the IOMMU (an APU), their eviction, its works and their queues. Simplified: one device; hardware blocks
 * (doorbells, PASIDs, apertures, CWSR) are numbers and allocations that can fail; the GPU's eviction fence is not
 * modelled, who evicts does not wait. Left out: events, buffer objects, the topology.
 */
import { delayedWork, workStruct, type Workqueue } from '../../kernel/workqueue.ts';
import { hashTable } from '../../kernel/hash-table.ts';
import { hlistHead, hlistNode } from '../../kernel/hlist.ts';
import { kref } from '../../kernel/kref.ts';
import { listHead } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { rcuHead, srcuStruct } from '../../kernel/srcu.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { TaskStruct } from '../../mm-types/task-struct.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';
import { SvmRangeList, type SvmOps } from './svm-priv.ts';

export const amdkfd = moduleText('amdkfd');

/** Values a PASID or a doorbell page can have: 1 … 15. 0 means none. */
export const KFD_ID_COUNT = 16;

/** What the process queue manager keeps for a process. */
export const ProcessQueueManager = struct('process_queue_manager', {
  queueSlotBitmap: ptr<QueueSlotBitmap>(),
  /** Changed under the process's mutex and dqm_lock; read under either. */
  queues: listHead(),
  /** Whether the queues are stopped, because memory is short. Under dqm_lock. */
  isEvicted: field(false),
});
export const QueueSlotBitmap = struct('queue_slot_bitmap', { bits: 0 });
export type QueueSlotBitmap = InstanceOf<typeof QueueSlotBitmap>;

export const KfdQueue = struct('queue', {
  node: listHead(),
  /** The slot of the hardware that it is loaded into; its id and doorbell, too. */
  slot: 0,
});
export type KfdQueue = InstanceOf<typeof KfdQueue>;

/** What a process has of one device. */
export const KfdProcessDevice = struct('kfd_process_device', {
  perDeviceList: listHead(),
  /** Buffer objects the process still has on the device. */
  allocCount: 0,
});
export type KfdProcessDevice = InstanceOf<typeof KfdProcessDevice>;

/** A directory of the process below /sys/class/kfd/kfd/proc. */
export const Kobject = struct('kobject', { pid: 0 });
export type Kobject = InstanceOf<typeof Kobject>;

export const KfdProcess = struct('kfd_process', {
  /** In kfd_processes_table. Changed under kfd_processes_mutex, read under kfd_processes_srcu. */
  kfdProcesses: hlistNode(),
  /**
   * The key in the table: an opaque value, not a reference. NULL once the mm is being released. Under
   * `mutex`, but for readers of the table.
   */
  mm: ptr<MmStruct>(),
  mutex: mutex(),
  ref: kref(),
  releaseWork: workStruct(),
  /** Pinned by get_task_struct. */
  leadThread: ptr<TaskStruct>(),
  mmuNotifier: embed(MmuNotifier),
  pasid: 0,
  doorbellIndex: 0,
  /** One kfd_process_device for each device. Under `mutex`. */
  perDeviceData: listHead(),
  pqm: embed(ProcessQueueManager),
  evictionWork: delayedWork(),
  restoreWork: delayedWork(),
  is32bitUserMode: field(false),
  kobj: ptr<Kobject>(),
  /** From v5.14 on; see svm-priv.ts. */
  svms: embed(SvmRangeList),
  /** v5.3 only: what mmu_notifier_call_srcu frees the process with. */
  rcu: rcuHead(),
});
export type KfdProcess = InstanceOf<typeof KfdProcess>;

export const globals = amdkfd.data({
  kfdProcessesTable: hashTable(5),
  /** v6.1: the processes that a module which goes has taken for itself. */
  cleanupList: hlistHead(),
  /** Whether each process keeps the module loaded, which no version does. */
  holdsModule: field(false),
  /** Serialises creation and removal of processes. Taken before any process's own mutex. */
  kfdProcessesMutex: mutex(),
  /** Protects walks of the table: whoever removes waits for it before the process may go. */
  kfdProcessesSrcu: srcuStruct(),
  kfdDbgmgrMutex: mutex(),
  /** The PASID that the debugger is attached to, or 0. Under kfd_dbgmgr_mutex. */
  dbgmgrPasid: 0,
  /** dqm->lock_hidden: what is loaded into the hardware. */
  dqmLock: mutex(),
  /** One bit for each slot in use. Under dqm_lock. */
  hqdBitmap: 0,
  /** For the end of processes, which sleeps. Made at load, destroyed at unload. */
  kfdProcessWq: ptr<Workqueue>(),
  /** For restoring processes, one after the other. */
  kfdRestoreWq: ptr<Workqueue>(),
  kfdIdsMutex: mutex(),
  /** One bit for each PASID in use. Under kfd_ids_mutex. */
  pasidBitmap: 1,
  /** One bit for each doorbell page in use. Under kfd_ids_mutex. */
  doorbellBitmap: 1,
  /** Whether /sys/class/kfd/kfd/proc exists; see `kfd_procfs_init`. */
  hasProcfs: field(false),
  /** From v5.14 on: shared virtual memory, and the work that handles faults of the GPU. */
  svm: ptr<SvmOps>(),
  svmFaultWork: workStruct(),
});

/**
 * mmulab: the Linux mmu notifier subsystem, its drivers, and the checker that runs them under every
 * interleaving. This is all that a driver, a scenario or a program needs to import.
 */

// ---- numbers -------------------------------------------------------------------------------------
export * from './base/errno.ts';
export { hex, ulong, ulongAdd, ulongSub, ULONG_MAX } from './base/ulong.ts';
export { UsageError, type ErrorCode } from './base/usage-error.ts';

// ---- the kernel: functions, structs, memory ------------------------------------------------------
export { fn, type Call, type KernelCallable } from './kernel/call.ts';
export type { Body, Operation } from './kernel/operation.ts';
export { current } from './kernel/running.ts';
export {
  containerOf,
  embed,
  field,
  ptr,
  struct,
  type Instance,
  type InstanceOf,
  type StructType,
} from './kernel/struct.ts';
export { array } from './kernel/array.ts';
export * from './kernel/gfp.ts';
export { allocateStatic, kfree, kmalloc, kzalloc } from './kernel/slab.ts';
export { errPtr, isErr, ptrErr, type ErrPtr } from './kernel/err-ptr.ts';
export * from './kernel/assertion.ts';
export * from './kernel/choose.ts';
export * from './kernel/usercopy.ts';

// ---- the kernel: shared data ---------------------------------------------------------------------
export * from './kernel/field.ts';
export * from './kernel/atomic.ts';
export * from './kernel/refcount.ts';
export * from './kernel/kref.ts';
export * from './kernel/barrier.ts';
export * from './kernel/list.ts';
export * from './kernel/hlist.ts';
export * from './kernel/hash-table.ts';
export * from './kernel/interval-tree.ts';
export * from './kernel/xarray.ts';

// ---- the kernel: locks and waiting ---------------------------------------------------------------
export * from './kernel/mutex.ts';
export * from './kernel/spinlock.ts';
export * from './kernel/rwsem.ts';
export * from './kernel/preempt.ts';
export * from './kernel/signal.ts';
export * from './kernel/lockdep.ts';
export * from './kernel/rcu.ts';
export * from './kernel/srcu.ts';
export * from './kernel/wait.ts';
export * from './kernel/completion.ts';
export * from './kernel/await.ts';
export * from './kernel/retry.ts';
export * from './kernel/workqueue.ts';
export * from './kernel/timer.ts';
export * from './kernel/kthread.ts';
export * from './kernel/interrupt.ts';
export * from './kernel/per-cpu.ts';

// ---- the kernel: modules and files ---------------------------------------------------------------
export { loadModule, modulePut, moduleText, tryModuleGet, unloadModule } from './kernel/module.ts';
export type { ModuleData, ModuleType } from './kernel/module.ts';
export { registerChrdev, unregisterChrdev, type File, type FileOperations } from './kernel/file.ts';

// ---- the mm and its notifiers --------------------------------------------------------------------
export {
  currentMm,
  mmdrop,
  mmget,
  mmgetNotZero,
  mmgrab,
  mmput,
  type MmStruct,
} from './mm-types/mm-struct.ts';
export * from './mm-types/task-struct.ts';
export * from './mmu-notifier/mmu-notifier.ts';
export * from './mmu-notifier/register.ts';
export * from './mmu-notifier/get-put.ts';
export * from './mmu-notifier/invalidate.ts';
export * from './mmu-notifier/before-series.ts';
export { bootMachine, type Machine } from './mm/machine.ts';
export type { MachineOptions } from './mm/machine.ts';
export { runDirect, settle } from './kernel/direct.ts';
export * from './base/mman.ts';
export { vmMmap, vmMunmap, type MmapOptions } from './mm/mmap.ts';
export { vmMprotect } from './mm/mprotect.ts';
export { vmMremap, type MremapOptions } from './mm/mremap.ts';
export { vmMadvise } from './mm/madvise.ts';
export { vmMlock, vmMunlock } from './mm/mlock.ts';
export { exitMmap } from './mm/exit.ts';
export { findVma, PAGE_SIZE, vmaLookup } from './mm/vma.ts';
export { LINUX_5_4, LINUX_6_18, setBehaviour, type Behaviour } from './mm/behaviour.ts';
export * from './mm-types/vm-flags.ts';
export type { VmArea } from './mm-types/vma.ts';
export type { Process, UserMmapOptions } from './mm/process.ts';
export { AddressSpace } from './mm-types/address-space.ts';
export { remapPfnRange, unmapMappingRange } from './mm/pfn-map.ts';
export { pageToPfn, type Page } from './mm-types/page.ts';
export { getUserPages, pinUserPages, putUserPage, unpinUserPage } from './mm/gup.ts';
export { handleMmFault } from './mm/fault.ts';
export { userLoad, userStore } from './mm/user-access.ts';
export { armDirectReclaim, reclaimPage } from './mm/reclaim.ts';
export { migrateAt } from './mm/migrate.ts';
export { migrateVma } from './mm/migrate-vma.ts';
export { makeDeviceExclusive } from './mm/device-exclusive.ts';
export { pageIdleClearPteRefs, pageReferenced } from './mm/page-idle.ts';
export { clearRefsSoftDirty } from './mm/soft-dirty.ts';
export { oomReapTask, oomReapTaskMm } from './mm/oom.ts';
export { ksmMerge, ksmStabilize, type KsmPlace } from './mm/ksm.ts';
export { collapseHugePage, scanHugePage } from './mm/khugepaged.ts';
export { collapseFile, retractPageTables } from './mm/collapse-file.ts';
export { auditMemory, staleTranslations, type Inventory } from './mm/audit.ts';
export { staleTranslation } from './mm/detector/stale-translation.ts';
export * from './mmu-notifier/invalidate-range.ts';
export * from './mmu-notifier/young.ts';
export {
  mmuIntervalCheckRetry,
  MmuIntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierInsertLocked,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  type Interval,
  type MmuIntervalNotifierOps,
} from './mmu-notifier/interval.ts';
export * from './mmu-notifier/behaviour.ts';

// ---- devices that translate ----------------------------------------------------------------------
export {
  deviceEntry,
  deviceEntryYoung,
  deviceTranslations,
  dropIn,
  flushDeviceTlb,
  setDeviceEntry,
  type DeviceEntry,
  type DeviceTranslations,
} from './device/translations.ts';
export * from './device/access.ts';
export {
  flushIotlb,
  iotlbLoad,
  iotlbStore,
  pasidEntry,
  setPasidRoot,
  type PasidEntry,
} from './device/iotlb.ts';
export { declareCoherence, withdrawCoherence, type Coherence } from './device/coherence.ts';
export {
  commandQueue,
  haltQueue,
  resumeQueue,
  startEngine,
  submitCommand,
  takeCommandsBack,
  type CommandQueue,
  type Execute,
} from './device/command-queue.ts';
export {
  answerFault,
  awaitAnswer,
  faultQueue,
  nextFault,
  reportFault,
  type DeviceFault,
  type FaultQueue,
  type FaultRequest,
} from './device/fault-queue.ts';
export * from './device/fence.ts';

// ---- checking ------------------------------------------------------------------------------------
export { defineScenario } from './catalogue/define-scenario.ts';
export { findScenario, SCENARIOS } from './catalogue/index.ts';
export { checkVariant, type CheckOptions, type Progress } from './check/check-variant.ts';
export type { SamplingFigures, VariantResult, Violation } from './check/result.ts';
export type { SamplingPlan } from './check/sampler/sampling.ts';
export type { Expectation, Scenario, ScenarioDefinition, Variant } from './check/scenario.ts';

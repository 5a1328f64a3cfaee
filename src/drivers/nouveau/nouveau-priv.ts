/**
 * nouveau's shared virtual memory (SVM), the part that mirrors a process: its structures.
 *
 *     nouveau_cli  (an open file)   --> nouveau_svmm { vmm, mirror }   the process's addresses, on the GPU
 *     nouveau_svm  (the device)     --> nouveau_ivmm { inst, svmm }    which instance faults for which of them
 *
 * Modelled: enabling SVM on a client, its channel, replayable faults and their window, the hole that the driver keeps
 * for itself, invalidation, the end by close. Simplified: a client has one channel; a window is as many pages as have
 * faults side by side. Left out: migration to the GPU's memory, buffers of the driver, everything about
 * graphics, and the form of v6.1: registered by `__mmu_notifier_register`, put with a tombstone that callbacks look at, and
 * an interval notifier for each fault.
 */
import { listHead } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { workStruct } from '../../kernel/workqueue.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { HmmMirror } from '../hmm/index.ts';

export const nouveau = moduleText('nouveau');

/** An address space of the GPU, as the driver has it. */
export const NvifVmm = struct('nvif_vmm', { space: 0 });
export type NvifVmm = InstanceOf<typeof NvifVmm>;

/** struct nouveau_svmm: a process's addresses on the GPU. Freed by whoever closes the client. */
export const NouveauSvmm = struct('nouveau_svmm', {
  vmm: ptr<NvifVmm>(),
  /** [start, limit): addresses that the driver keeps for itself, in bytes. Constant. */
  unmanagedStart: 0,
  unmanagedLimit: 0,
  /** Protects the GPU's page table. Taken by callbacks. */
  mutex: mutex(),
  /** Not pinned by itself: the mirror pins the structure, nothing keeps it in use. */
  mm: ptr<MmStruct>(),
  mirror: embed(HmmMirror),
});
export type NouveauSvmm = InstanceOf<typeof NouveauSvmm>;

/** struct nouveau_ivmm: which svmm an instance block belongs to. */
export const NouveauIvmm = struct('nouveau_ivmm', {
  svmm: ptr<NouveauSvmm>(),
  inst: 0,
  head: listHead(),
});
export type NouveauIvmm = InstanceOf<typeof NouveauIvmm>;

/** struct nouveau_cli: an open file. */
export const NouveauCli = struct('nouveau_cli', {
  /** Protects what follows. Taken outside mmap_sem. */
  mutex: mutex(),
  svmm: ptr<NouveauSvmm>(),
  vmm: ptr<NvifVmm>(),
  /** Whether it has its channel. */
  hasChannel: field(false),
});
export type NouveauCli = InstanceOf<typeof NouveauCli>;

/** What v5.3 does not do; each is a candidate of its own. */
export interface NouveauVersion {
  /** A range that did not become valid in time is taken off the list again. */
  readonly unregistersOnTimeout: boolean;
  /** svm->mutex is held while faults are handled, so that no svmm goes meanwhile. */
  readonly holdsSvmMutex: boolean;
  /** The mm is taken into use before its VMAs are looked at. */
  readonly usesMm: boolean;
  /** The unwind of SVM_INIT takes back only a mirror that was registered. */
  readonly checksMirror: boolean;
  /** The end of the mm takes everything out of the GPU's page table. */
  readonly releases: boolean;
  /** Module exit waits for notifiers that were put (patch 5). */
  readonly synchronizes: boolean;
}

/** struct nouveau_svm, and what else the module has. */
export const globals = nouveau.data({
  /** Protects `inst` and `spaceBitmap`. */
  mutex: mutex(),
  /** Of nouveau_ivmm. */
  inst: listHead(),
  /** One bit for each address space of the GPU that is taken. */
  spaceBitmap: 0,
  work: workStruct(),
  /** Constant once init is over. */
  version: ptr<NouveauVersion>(),
});

/**
 * nouveau_svmm: what mirrors a process on the GPU, from SVM_INIT to close.
 *
 *     CPU0 the mm changes                      CPU1 the GPU faults (nouveau-svm-fault.ts)
 *     start: ranges become invalid             range registered, valid; reads the page tables
 *       svmm->mutex
 *       GPU page table entries cleared         svmm->mutex
 *       svmm->mutex released                   valid? no: again
 *     page tables change, end                         yes: GPU page table written
 *
 * Lock order: cli->mutex, mmap_sem, mirrors_sem, svmm->mutex; svm->mutex inside cli->mutex.
 */
import { EAGAIN, EBUSY, EINVAL, ENOMEM, ENOSPC } from '../../base/errno.ts';
import { declareCoherence, withdrawCoherence } from '../../device/coherence.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { listAdd, listDel, listForEachEntrySafe } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { downWrite, upWrite } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { containerOf } from '../../kernel/struct.ts';
import { PAGE_SIZE, TASK_SIZE } from '../../mm-types/mm-struct.ts';
import { currentThread, getTaskMm } from '../../mm-types/task-struct.ts';
import { mmput } from '../../mm-types/mm-struct.ts';
import {
  mmuNotifierRangeBlockable,
  type MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import {
  hmmMirrorRegister,
  hmmMirrorUnregister,
  type HmmMirror,
  type HmmMirrorOps,
} from '../hmm/index.ts';
import { gpu, GPU_SPACE_COUNT } from './gpu.ts';
import {
  globals,
  nouveau,
  NouveauIvmm,
  NouveauSvmm,
  NvifVmm,
  type NouveauCli,
} from './nouveau-priv.ts';

const { fn } = nouveau;

/** Bytes: where the hole begins, and how long it is. */
export interface SvmInit {
  readonly unmanagedAddr: number;
  readonly unmanagedSize: number;
}

// ---- the GPU's page table --------------------------------------------------------------------------

/** Takes [start, limit) out of the GPU's page table. svmm->mutex is held. */
export const nouveauSvmmInvalidate = fn(function* nouveauSvmmInvalidate(
  svmm: NouveauSvmm,
  start: number,
  limit: number,
) {
  if (limit <= start) return;
  const { translations } = gpu().spaces.get(svmm.vmm!.space);
  // All that change the table hold the mutex: what is there now is what is there.
  for (const page of translations.table.keys()) {
    const address = page * PAGE_SIZE;
    if (address >= start && address < limit) yield* setDeviceEntry(translations, page, null);
  }
});

const nouveauSvmmSyncCpuDevicePagetables = fn(function* nouveauSvmmSyncCpuDevicePagetables(
  mirror: HmmMirror,
  update: MmuNotifierRange,
) {
  const svmm = containerOf(mirror, NouveauSvmm, 'mirror');
  let { start } = update;
  const { end: limit } = update;
  if (!mmuNotifierRangeBlockable(update)) return -EAGAIN;
  yield* mutexLock(svmm.mutex);
  if (limit > svmm.unmanagedStart && start < svmm.unmanagedLimit) {
    // Through the hole, which has nothing of the process in it.
    if (start < svmm.unmanagedStart) {
      yield* nouveauSvmmInvalidate(svmm, start, svmm.unmanagedLimit);
    }
    start = svmm.unmanagedLimit;
  }
  yield* nouveauSvmmInvalidate(svmm, start, limit);
  yield* mutexUnlock(svmm.mutex);
  return 0;
});

/** The mm ends: pages will go that the GPU has in its table. v5.3 leaves them there. */
const nouveauSvmmRelease = fn(function* nouveauSvmmRelease(mirror: HmmMirror) {
  if (!globals().version!.releases) return;
  const svmm = containerOf(mirror, NouveauSvmm, 'mirror');
  yield* mutexLock(svmm.mutex);
  yield* nouveauSvmmInvalidate(svmm, 0, TASK_SIZE);
  yield* mutexUnlock(svmm.mutex);
});

const nouveauSvmmMirror: HmmMirrorOps = {
  syncCpuDevicePagetables: nouveauSvmmSyncCpuDevicePagetables,
  release: nouveauSvmmRelease,
};

// ---- address spaces --------------------------------------------------------------------------------

/** An address space of the GPU, or -ENOMEM, or -ENOSPC if it has no other. May sleep. */
const nvifVmmInit = fn(function* nvifVmmInit() {
  const svm = globals();
  const vmm = yield* kzalloc(NvifVmm, GFP_KERNEL);
  if (vmm === null) return -ENOMEM;
  yield* mutexLock(svm.mutex);
  let space = 0;
  while (space < GPU_SPACE_COUNT && (svm.spaceBitmap & (1 << space)) !== 0) space += 1;
  if (space < GPU_SPACE_COUNT) svm.spaceBitmap |= 1 << space;
  yield* mutexUnlock(svm.mutex);
  if (space === GPU_SPACE_COUNT) {
    yield* kfree(vmm);
    return -ENOSPC;
  }
  vmm.space = space;
  return vmm;
});

/** Gives it back. Nothing is in its table. May sleep. */
const nvifVmmFini = fn(function* nvifVmmFini(vmm: NvifVmm) {
  const svm = globals();
  yield* mutexLock(svm.mutex);
  svm.spaceBitmap &= ~(1 << vmm.space);
  yield* mutexUnlock(svm.mutex);
  yield* kfree(vmm);
});

// ---- instances ------------------------------------------------------------------------------------

/** From now on faults of the instance are those of `svmm`. 0 or -ENOMEM. May sleep. */
export const nouveauSvmmJoin = fn(function* nouveauSvmmJoin(svmm: NouveauSvmm, inst: number) {
  const svm = globals();
  const ivmm = yield* kzalloc(NouveauIvmm, GFP_KERNEL);
  if (ivmm === null) return -ENOMEM;
  ivmm.svmm = svmm;
  ivmm.inst = inst;
  yield* mutexLock(svm.mutex);
  listAdd(ivmm.head, svm.inst);
  yield* mutexUnlock(svm.mutex);
  return 0;
});

/** Faults of the instance are nobody's any more. May sleep. */
export const nouveauSvmmPart = fn(function* nouveauSvmmPart(inst: number) {
  const svm = globals();
  yield* mutexLock(svm.mutex);
  for (const ivmm of listForEachEntrySafe(svm.inst, NouveauIvmm, 'head')) {
    if (ivmm.inst !== inst) continue;
    listDel(ivmm.head);
    yield* kfree(ivmm);
  }
  yield* mutexUnlock(svm.mutex);
});

// ---- from SVM_INIT to close ------------------------------------------------------------------------

/** Ends SVM on a client. The channel is gone. May sleep. */
export const nouveauSvmmFini = fn(function* nouveauSvmmFini(cli: NouveauCli, svmm: NouveauSvmm) {
  if (svmm.vmm !== null) withdrawCoherence(translationsOf(svmm), 0, Infinity);
  if (!globals().version!.checksMirror || svmm.mirror.hmm !== null) {
    yield* hmmMirrorUnregister(svmm.mirror);
  }
  cli.svmm = null;
  yield* kfree(svmm);
});

function translationsOf(svmm: NouveauSvmm) {
  return gpu().spaces.get(svmm.vmm!.space).translations;
}

/** What the driver claims: outside the hole, the GPU translates as the CPU does. */
function declare(svmm: NouveauSvmm): void {
  const translations = translationsOf(svmm);
  const { mm, unmanagedStart, unmanagedLimit } = svmm;
  for (const [from, to] of [
    [0, unmanagedStart],
    [unmanagedLimit, TASK_SIZE],
  ] as const) {
    const first = from / PAGE_SIZE;
    const end = Math.max(from, to) / PAGE_SIZE;
    declareCoherence(translations, { first, end, cpuPage: first, mm: mm!, by: 'start' });
  }
}

/** What of SVM_INIT can fail once svmm is there. cli->mutex is held. */
const enable = fn(
  function* enable(cli: NouveauCli, svmm: NouveauSvmm): Body<number> {
    const vmm = yield* nvifVmmInit();
    if (typeof vmm === 'number') return vmm;
    cli.vmm = vmm;
    svmm.vmm = vmm;
    const mm = yield* getTaskMm(currentThread()!);
    if (mm === null) return -EINVAL;
    svmm.mm = mm;
    svmm.mirror.ops = nouveauSvmmMirror;
    yield* downWrite(mm.mmapSem);
    const error = yield* hmmMirrorRegister(svmm.mirror, mm);
    if (error === 0) {
      declare(svmm);
      cli.svmm = svmm;
    }
    yield* upWrite(mm.mmapSem);
    yield* mmput(mm);
    return error;
  },
  { name: 'nouveau_svmm_init' },
);

/** The ioctl SVM_INIT: 0, -EINVAL, -EBUSY if SVM is enabled already, -ENOMEM, -ENOSPC, -EINTR. May sleep. */
export const nouveauSvmmInit = fn(function* nouveauSvmmInit(cli: NouveauCli, args: SvmInit) {
  const { unmanagedAddr, unmanagedSize } = args;
  if (unmanagedAddr % PAGE_SIZE !== 0 || unmanagedSize % PAGE_SIZE !== 0) return -EINVAL;
  const svmm = yield* kzalloc(NouveauSvmm, GFP_KERNEL);
  if (svmm === null) return -ENOMEM;
  svmm.unmanagedStart = unmanagedAddr;
  svmm.unmanagedLimit = unmanagedAddr + unmanagedSize;
  yield* mutexLock(cli.mutex);
  const isEnabled = cli.svmm !== null;
  let error = -EBUSY;
  if (isEnabled) yield* kfree(svmm);
  else error = yield* enable(cli, svmm);
  if (!isEnabled && error !== 0) yield* undoInit(cli, svmm);
  yield* mutexUnlock(cli.mutex);
  return error;
});

/** SVM_INIT has failed: everything is as it was. */
function* undoInit(cli: NouveauCli, svmm: NouveauSvmm): Body<void> {
  yield* nouveauSvmmFini(cli, svmm);
  if (cli.vmm !== null) yield* nvifVmmFini(cli.vmm);
  cli.vmm = null;
}

/** The channel of a client ends: it faults no more, and nothing is in its table. cli->mutex is held. May sleep. */
export const nouveauChannelDel = fn(function* nouveauChannelDel(cli: NouveauCli) {
  const { svmm, vmm } = cli;
  if (!cli.hasChannel) return;
  cli.hasChannel = false;
  yield* nouveauSvmmPart(vmm!.space);
  yield* mutexLock(svmm!.mutex);
  yield* nouveauSvmmInvalidate(svmm!, 0, TASK_SIZE);
  yield* mutexUnlock(svmm!.mutex);
});

/** A client is closed. May sleep. */
export const nouveauCliFini = fn(function* nouveauCliFini(cli: NouveauCli) {
  yield* mutexLock(cli.mutex);
  yield* nouveauChannelDel(cli);
  const { svmm, vmm } = cli;
  if (svmm !== null) yield* nouveauSvmmFini(cli, svmm);
  if (vmm !== null) yield* nvifVmmFini(vmm);
  cli.vmm = null;
  yield* mutexUnlock(cli.mutex);
});

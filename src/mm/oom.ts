/**
 * The OOM reaper: takes the private memory of a process that was killed, while the process may still be stuck
 * somewhere, without waiting for anything.
 *
 * Modelled: mmap_sem by trylock; each VMA that is anonymous or private by itself, with a start that must not block;
 * where a callback cannot go on without sleeping the VMA is left alone, with no end and its entries untouched, and
 * the reaper tries again later, ten times at most. Before v4.19 an mm with notifiers was not reaped at all, and before
 * that it was, without telling them.
 * From the first attempt on faults of the victim in private memory end in SIGBUS (MMF_UNSTABLE, v4.14): what
 * they would find is not what was there.
 */
import { fn } from '../kernel/call.ts';
import { writeOnce } from '../kernel/field.ts';
import { running } from '../kernel/running.ts';
import { downReadTrylock, upRead } from '../kernel/rwsem.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { vmas } from '../mm-types/mm-take-all-locks.ts';
import { VM_LOCKED, VM_PFNMAP, VM_SHARED } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { mmuNotifierInvalidateRangeStartNonblock } from '../mmu-notifier/invalidate.ts';
import {
  mmHasNotifiers,
  MMU_NOTIFY_UNMAP,
  type MmuNotifierRange,
} from '../mmu-notifier/mmu-notifier.ts';
import { invalidateRangeEnd } from './invalidate-end.ts';
import { behaviourOf } from './behaviour.ts';
import { tlbFinishMmu, tlbGatherMmu } from './mmu-gather.ts';
import { unmapSingleVma } from './zap.ts';

/** MAX_OOM_REAP_RETRIES. */
const RETRIES_MAX = 10;

const reapVma = fn(
  function* reapVma(mm: MmStruct, vma: VmArea) {
    const { vmStart: start, vmEnd: end } = vma;
    const range: MmuNotifierRange = { mm, vma, start, end, event: MMU_NOTIFY_UNMAP, flags: 0 };
    const tlb = yield* tlbGatherMmu(mm);
    const isSilent = behaviourOf(running).oomReaper === 'silent';
    const isRefused = !isSilent && (yield* mmuNotifierInvalidateRangeStartNonblock(range)) !== 0;
    if (!isRefused) {
      yield* unmapSingleVma(tlb, vma, { start, end });
      if (!isSilent) yield* invalidateRangeEnd(range);
    }
    yield* tlbFinishMmu(tlb);
    return !isRefused;
  },
  { name: '__oom_reap_task_mm' },
);

function isReaped(vma: VmArea): boolean {
  if ((vma.vmFlags & (VM_LOCKED | VM_PFNMAP)) !== 0) return false;
  return vma.mapping === null || (vma.vmFlags & VM_SHARED) === 0;
}

/**
 * `oom_reap_task_mm(mm)`: one attempt: whether all was reaped that can be. The caller keeps the mm structure
 * (mm_count), and its pages from being freed by exit (mm_users). Never waits for a lock.
 */
export const oomReapTaskMm = fn(function* oomReapTaskMm(mm: MmStruct) {
  if (!(yield* downReadTrylock(mm.mmapSem))) return false;
  if (behaviourOf(running).oomReaper === 'skips' && mmHasNotifiers(mm)) {
    yield* upRead(mm.mmapSem);
    return true;
  }
  // Before any page goes: a fault looks under the page-table lock.
  yield* writeOnce(mm, 'isUnstable', true);
  let isDone = true;
  for (const vma of vmas(mm)) {
    if (isReaped(vma) && !(yield* reapVma(mm, vma))) isDone = false;
  }
  yield* upRead(mm.mmapSem);
  return isDone;
});

/** `oom_reap_task(mm)`: attempts until one succeeds, ten at most; whether one did. */
export const oomReapTask = fn(function* oomReapTask(mm: MmStruct, attempts: number = RETRIES_MAX) {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    if (yield* oomReapTaskMm(mm)) return true;
  }
  return false;
});

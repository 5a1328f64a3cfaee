/**
 * exit_mmap: the end of an address space. Runs in the context of the last mmput, with mm_users at zero; who
 * still holds mm_count sees the structure, not the mappings. Truncation, reclaim and the OOM reaper may
 * still come by, over a file's or an anon_vma's tree or the list of processes.
 */
import { ULONG_MAX } from '../base/ulong.ts';
import { fn } from '../kernel/call.ts';
import { listEmpty } from '../kernel/list.ts';
import { downRead, downWrite, upRead, upWrite } from '../kernel/rwsem.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { vmas } from '../mm-types/mm-take-all-locks.ts';
import { mmuNotifierRelease } from '../mmu-notifier/release.ts';
import { unlinkAnonVmas } from './anon-vma.ts';
import { unlinkFileVma } from './file-mapping.ts';
import { tlbFinishMmu, tlbGatherMmuFullmm } from './mmu-gather.ts';
import { removeVmas } from './munmap.ts';
import { vmaUnlink } from './vma.ts';
import { freePgtables, pgdFree, unmapVmas } from './zap.ts';

/** `exit_mmap(mm)`: unmaps and frees everything. The last mmput calls it; nobody else does. Sleeps. */
export const exitMmap = fn(function* exitMmap(mm: MmStruct) {
  // Before a page goes, every secondary MMU has let go of it; afterwards nobody is told anything.
  yield* mmuNotifierRelease(mm);
  yield* downRead(mm.mmapSem);
  const found = vmas(mm);
  if (found.length === 0) {
    yield* upRead(mm.mmapSem);
    yield* pgdFree(mm);
    return;
  }
  const tlb = yield* tlbGatherMmuFullmm(mm);
  yield* unmapVmas(tlb, found, 0, ULONG_MAX);
  yield* upRead(mm.mmapSem);
  yield* downWrite(mm.mmapSem);
  for (const vma of found) {
    if (!listEmpty(vma.anonVmaChain)) yield* unlinkAnonVmas(vma);
    if (vma.mapping !== null) yield* unlinkFileVma(vma);
  }
  yield* freePgtables(tlb, found, 0, 0);
  yield* tlbFinishMmu(tlb);
  for (const vma of found) vmaUnlink(mm, vma);
  yield* removeVmas(found);
  yield* upWrite(mm.mmapSem);
  yield* pgdFree(mm);
});

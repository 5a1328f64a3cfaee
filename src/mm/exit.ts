/**
 * exit_mmap: the end of an address space. Runs in the context of the last mmput, with no lock held
 * and mm_users at zero; who still holds mm_count sees the structure, not the mappings.
 */
import { ULONG_MAX } from '../base/ulong.ts';
import { fn } from '../kernel/call.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { vmas } from '../mm-types/mm-take-all-locks.ts';
import { mmuNotifierRelease } from '../mmu-notifier/release.ts';
import { unmapRegion } from './mmap.ts';
import { vmAreaFree, vmaUnlink } from './vma.ts';

export const exitMmap = fn(function* exitMmap(mm: MmStruct) {
  // Before a page goes, every secondary MMU has let go of it; afterwards nobody is told anything.
  yield* mmuNotifierRelease(mm);
  const found = vmas(mm);
  if (found.length === 0) return;
  yield* unmapRegion(mm, 0, ULONG_MAX);
  for (const vma of found) {
    vmaUnlink(mm, vma);
    yield* vmAreaFree(vma);
  }
});

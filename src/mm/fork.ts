/**
 * dup_mmap: the mappings of a forked process.
 *
 * The parent's and the child's mmap_sem are held for write from start to end. Each VMA is copied with its
 * links and its place in the file's tree, then its page tables; the parent's TLBs are flushed once at the
 * end, since its private pages are read-only from then on.
 * Simplified: in the file's tree the copy comes after all with the same offset.
 */
import { EINTR, ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import { SINGLE_DEPTH_NESTING } from '../kernel/held-lock.ts';
import { getFile } from '../kernel/open-file.ts';
import { downWriteKillable, downWriteNested, upWrite } from '../kernel/rwsem.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { VM_DONTCOPY, VM_LOCKED, VM_WIPEONFORK } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { vmaTreeFirst } from '../mm-types/vma-tree.ts';
import { anonVmaFork } from './anon-vma.ts';
import { copyPageRange } from './copy-page-range.ts';
import { vmaLinkFile } from './file-mapping.ts';
import { flushTlbMm } from './tlb.ts';
import { vmaLink, vmAreaAlloc, vmAreaFree, vmaNext } from './vma.ts';

/** A copy of one VMA in the child, found by address and by reverse map; NULL without memory. */
const dupVma = fn(
  function* dupVma(target: MmStruct, vma: VmArea) {
    const copy = yield* vmAreaAlloc(target, vma.vmStart, vma.vmEnd);
    if (copy === null) return null;
    copy.vmPgoff = vma.vmPgoff;
    // Locks are not inherited.
    copy.vmFlags = vma.vmFlags & ~VM_LOCKED;
    copy.vmFile = vma.vmFile;
    copy.mapping = vma.mapping;
    copy.vmOps = vma.vmOps;
    copy.vmPrivateData = vma.vmPrivateData;
    const isWiped = (vma.vmFlags & VM_WIPEONFORK) !== 0;
    const isLinked = !isWiped && vma.anonVma !== null;
    if (isLinked && (yield* anonVmaFork(copy, vma)) !== 0) {
      yield* vmAreaFree(copy);
      return null;
    }
    if (copy.vmFile !== null) yield* getFile(copy.vmFile);
    const open = copy.vmOps?.open;
    if (open !== undefined) yield* open(copy);
    vmaLink(target, copy);
    if (copy.mapping !== null) yield* vmaLinkFile(copy);
    return copy;
  },
  { name: 'dup_mmap' },
);

/** Copies all VMAs. 0 or -ENOMEM: then the child has some of them. */
const dupVmas = fn(
  function* dupVmas(target: MmStruct, source: MmStruct) {
    const first = vmaTreeFirst(source.mmRb);
    let vma = first === null ? null : (first.container as VmArea);
    for (; vma !== null; vma = vmaNext(vma)) {
      if ((vma.vmFlags & VM_DONTCOPY) !== 0) continue;
      const copy = yield* dupVma(target, vma);
      if (copy === null) return -ENOMEM;
      if ((copy.vmFlags & VM_WIPEONFORK) !== 0) continue;
      const error = yield* copyPageRange(copy, vma);
      if (error !== 0) return error;
    }
    return 0;
  },
  { name: 'dup_mmap' },
);

/**
 * Copies the mappings of `source` into the new `target`, write-protecting the parent's private pages.
 * Returns 0, -ENOMEM or -EINTR. Takes mmap_sem of both for write.
 *
 * @kernel dup_mmap
 */
export const dupMmap = fn(function* dupMmap(target: MmStruct, source: MmStruct) {
  if ((yield* downWriteKillable(source.mmapSem)) !== 0) return -EINTR;
  // Of the same class as the parent's; nobody else knows the child yet.
  yield* downWriteNested(target.mmapSem, SINGLE_DEPTH_NESTING);
  target.startBrk = source.startBrk;
  target.brk = source.brk;
  target.mmapBase = source.mmapBase;
  const result = yield* dupVmas(target, source);
  yield* flushTlbMm(source);
  yield* upWrite(target.mmapSem);
  yield* upWrite(source.mmapSem);
  return result;
});

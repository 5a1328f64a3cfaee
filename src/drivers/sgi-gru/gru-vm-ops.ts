/** What the driver does about mappings of /dev/gru: a touch loads, the end unloads and drops. */
import { listDel, listEmpty, listFirstEntry } from '../../kernel/list.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree } from '../../kernel/slab.ts';
import type { VmArea, VmOperations } from '../../mm-types/vma.ts';
import { gtsDrop } from './gru-gts.ts';
import { gruFault, gruUnloadContext } from './gru-main.ts';
import { globals, GruThreadState, sgiGru, type GruVmaData } from './gru-priv.ts';

const { fn } = sgiGru;

/** The mapping goes. Nobody finds it any more, so nobody adds a segment. mmap_sem is held, or the mm is dead. */
const gruVmaClose = fn(function* gruVmaClose(vma: VmArea) {
  const vdata = vma.vmPrivateData as GruVmaData | null;
  if (vdata === null) return;
  const { closeUnloads } = globals().life!;
  while (!listEmpty(vdata.vdHead)) {
    const gts = listFirstEntry(vdata.vdHead, GruThreadState, 'tsNext');
    listDel(gts.tsNext);
    // A thief may have it; afterwards it is not loaded, and cannot be.
    yield* mutexLock(gts.tsCtxlock);
    if (!closeUnloads) gts.tsVma = null;
    else if (gts.tsGru !== null) yield* gruUnloadContext(gts, false);
    yield* mutexUnlock(gts.tsCtxlock);
    yield* gtsDrop(gts);
  }
  yield* kfree(vdata);
});

/** By their address the driver knows its mappings. */
export const gruVmOps: VmOperations = { fault: gruFault, close: gruVmaClose };

/**
 * user_sdma.c: memory that the adapter sends from. What is pinned for a request stays in the cache for the next one.
 *
 *     request                          start                           the adapter is done
 *     in the cache? one user more
 *     else: full? evicts what nobody uses
 *     pins, into the cache
 *     hands it to SDMA
 *                                      v5.3: nobody uses it? out       one user less
 *                                      v6.5: out; it goes with its     drops its reference
 *                                      last user
 */
import { EFAULT, EINVAL, ENOMEM } from '../../base/errno.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { atomicDec, atomicDecAndTest, atomicInc, atomicRead } from '../../kernel/atomic.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { refcountSet } from '../../kernel/refcount.ts';
import { spinLock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf } from '../../kernel/struct.ts';
import { waitEvent, wakeUp } from '../../kernel/wait.ts';
import { PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { pageToPfn } from '../../mm-types/page.ts';
import { hfi, sdmaSubmit } from './hfi.ts';
import {
  hfi1,
  SdmaMmuNode,
  version,
  type Hfi1Filedata,
  type MmuRbHandler,
  type MmuRbNode,
  type MmuRbOps,
} from './hfi1-priv.ts';
import {
  hfi1MmuRbEvict,
  hfi1MmuRbGetFirst,
  hfi1MmuRbInsert,
  hfi1MmuRbPut,
  hfi1MmuRbUnregister,
} from './mmu-rb.ts';
import { hfi1AcquireUserPages, hfi1CanPinPages, hfi1ReleaseUserPages } from './user-pages.ts';

const { fn } = hfi1;

/** The cache of pages that SDMA reads. */
export const sdmaRbOps: MmuRbOps = {
  remove: fn(function* sdmaRbRemove(handler: MmuRbHandler, rb: MmuRbNode) {
    const node = containerOf(rb, SdmaMmuNode, 'rb');
    yield* hfi1ReleaseUserPages(handler.mm!, node.page!);
    yield* atomicDec((node.pq as Hfi1Filedata).nLocked);
    yield* kfree(node);
  }),
  invalidate: fn(function* sdmaRbInvalidate(_handler: MmuRbHandler, rb: MmuRbNode) {
    const node = containerOf(rb, SdmaMmuNode, 'rb');
    return version().countsNodes || (yield* atomicRead(node.refcount)) === 0;
  }),
  evict: fn(function* sdmaRbEvict(_handler: MmuRbHandler, rb: MmuRbNode) {
    // From v6.5 on who evicts has looked already.
    if (version().countsNodes) return true;
    return (yield* atomicRead(containerOf(rb, SdmaMmuNode, 'rb').refcount)) === 0;
  }),
};

/** Makes room for a page. Where all are in use there is none, and the cache grows. May sleep. */
const sdmaCacheEvict = fn(function* sdmaCacheEvict(fd: Hfi1Filedata) {
  let isFull = !(yield* hfi1CanPinPages(fd));
  while (isFull) {
    if ((yield* hfi1MmuRbEvict(fd.sdma!, 1)) === 0) return;
    isFull = !(yield* hfi1CanPinPages(fd));
  }
});

/** A node for the page at `addr`, pinned and with one user, in the cache; -EFAULT, -ENOMEM, -EEXIST, -EPERM. May sleep. */
const addNode = fn(
  function* addNode(fd: Hfi1Filedata, addr: number): Body<SdmaMmuNode | number> {
    const handler = fd.sdma!;
    const node = yield* kzalloc(SdmaMmuNode, GFP_KERNEL);
    if (node === null) return -ENOMEM;
    yield* sdmaCacheEvict(fd);
    const mm = version().mm === 'of the notifier' ? handler.mm! : fd.mm!;
    const page = yield* hfi1AcquireUserPages(mm, addr);
    if (page === null) {
      yield* kfree(node);
      return -EFAULT;
    }
    yield* atomicInc(fd.nLocked);
    node.pq = fd;
    node.page = page;
    node.rb.addr = addr;
    yield* version().countsNodes ? refcountSet(node.rb.refcount, 2) : atomicInc(node.refcount);
    const error = yield* hfi1MmuRbInsert(handler, node.rb);
    if (error === 0) return node;
    yield* hfi1ReleaseUserPages(mm, page);
    yield* atomicDec(fd.nLocked);
    yield* kfree(node);
    return error;
  },
  { name: 'pin_vector_pages' },
);

/** The node for the page at `addr`, for one user more. May sleep. */
const pinVectorPages = fn(function* pinVectorPages(
  fd: Hfi1Filedata,
  addr: number,
): Body<SdmaMmuNode | number> {
  const found = yield* hfi1MmuRbGetFirst(fd.sdma!, addr);
  if (found === null) return yield* addNode(fd, addr);
  const node = containerOf(found, SdmaMmuNode, 'rb');
  // Before v6.5 without the lock, in which it was found.
  if (!version().countsNodes) yield* atomicInc(node.refcount);
  return node;
});

/** A request is over. Never sleeps. */
const freeRequest = fn(
  function* freeRequest(fd: Hfi1Filedata, node: SdmaMmuNode | null) {
    if (node !== null) {
      if (version().countsNodes) yield* hfi1MmuRbPut(fd.sdma!, node.rb);
      else yield* atomicDec(node.refcount);
    }
    yield* spinLock(fd.reqLock);
    if (yield* atomicDecAndTest(fd.nReqs)) yield* wakeUp(fd.wait);
    yield* spinUnlock(fd.reqLock);
  },
  { name: 'user_sdma_free_request' },
);

/** `writev`: has the byte at `addr` sent: 0 when that is on its way, or -errno. May sleep. */
export const hfi1UserSdmaProcessRequest = fn(function* hfi1UserSdmaProcessRequest(
  fd: Hfi1Filedata,
  addr: number,
): Body<number> {
  if (fd.sdma === null) return -EINVAL;
  yield* atomicInc(fd.nReqs);
  const node = yield* pinVectorPages(fd, addr - (addr % PAGE_SIZE));
  if (typeof node === 'number') {
    yield* freeRequest(fd, null);
    return node;
  }
  const pfn = pageToPfn(node.page!);
  yield* setDeviceEntry(hfi().bus, pfn, { pfn, isWritable: false });
  const done = fn(
    function* userSdmaTxreqCb() {
      yield* freeRequest(fd, node);
    },
    { name: 'user_sdma_txreq_cb' },
  );
  yield* sdmaSubmit({ address: pfn * PAGE_SIZE + (addr % PAGE_SIZE), done });
  return 0;
});

const waitForRequests = fn(
  function* waitForRequests(fd: Hfi1Filedata) {
    yield* waitEvent(fd.wait, () => isIdle(fd));
  },
  { name: 'hfi1_user_sdma_free_queues' },
);

function* isIdle({ nReqs, reqLock }: Hfi1Filedata): Body<boolean> {
  yield* spinLock(reqLock);
  const count = yield* atomicRead(nReqs);
  yield* spinUnlock(reqLock);
  return count === 0;
}

/** The file goes. May sleep. */
export const hfi1UserSdmaFreeQueues = fn(function* hfi1UserSdmaFreeQueues(fd: Hfi1Filedata) {
  const { countsNodes } = version();
  if (countsNodes) yield* waitForRequests(fd);
  yield* hfi1MmuRbUnregister(fd.sdma!);
  // Before v6.5: of what they use nothing is left by now.
  if (!countsNodes) yield* waitForRequests(fd);
});

/** Whose pages a file's context is about. */
export function contextMm(fd: Hfi1Filedata): MmStruct {
  return version().mm === 'of the notifier' ? (current().mm as MmStruct) : fd.mm!;
}

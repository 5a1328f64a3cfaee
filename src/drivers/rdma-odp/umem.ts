/**
 * umem.c: memory that is pinned for a device for as long as it is registered. No notifier: what the CPU maps may change,
 * the device keeps the pages it was given.
 *
 * Left out: RLIMIT_MEMLOCK and its account, memory of files.
 */
import { ENOMEM } from '../../base/errno.ts';
import { errPtr, type ErrPtr } from '../../kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { pinUserPages, unpinUserPage } from '../../mm/gup.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import {
  IbUmem,
  ibUverbs,
  ODP_PAGES_MAX,
  PageList,
  type IbUcontext,
  type UmemRequest,
} from './ib-priv.ts';

const { fn } = ibUverbs;

const freeUmem = fn(
  function* freeUmem(umem: IbUmem) {
    yield* kfree(umem.pageList);
    yield* mmdrop(umem.owningMm!);
    yield* kfree(umem);
  },
  { name: '__ib_umem_release_tail' },
);

/** Pins memory of current: ERR_PTR(-ENOMEM) or ERR_PTR(-EFAULT) if that fails. Takes mmap_sem. May sleep. */
export const ibUmemGet = fn(function* ibUmemGet(
  context: IbUcontext,
  request: UmemRequest,
): Body<IbUmem | ErrPtr> {
  const umem = yield* kzalloc(IbUmem, GFP_KERNEL);
  if (umem === null) return errPtr(-ENOMEM);
  const mm = current().mm as MmStruct;
  Object.assign(umem, request);
  umem.context = context;
  umem.ibdev = context.device;
  umem.owningMm = mm;
  yield* mmgrab(mm);
  umem.pageList = yield* kzalloc(PageList, GFP_KERNEL);
  let pages: readonly Page[] | number = -ENOMEM;
  if (umem.pageList !== null) {
    const { address, length, isWritable } = request;
    yield* downRead(mm.mmapSem);
    pages = yield* pinUserPages(mm, address, length / PAGE_SIZE, isWritable);
    yield* upRead(mm.mmapSem);
  }
  if (typeof pages === 'number') {
    yield* freeUmem(umem);
    return errPtr(pages);
  }
  for (const [at, page] of pages.entries()) umem.pageList!.at.get(at).page = page;
  return umem;
});

/** Gives the pages back; the device does not reach them any more. May run when the mm has ended. */
export const ibUmemRelease = fn(function* ibUmemRelease(umem: IbUmem) {
  for (let at = 0; at < ODP_PAGES_MAX; at += 1) {
    const { page } = umem.pageList!.at.get(at);
    if (page !== null) yield* unpinUserPage(page);
  }
  yield* freeUmem(umem);
});

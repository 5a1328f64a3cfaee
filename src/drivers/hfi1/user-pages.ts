/** Pinning pages of a program, and charging it for them. */
import { EFAULT } from '../../base/errno.ts';
import { atomicDec, atomicInc, atomicRead } from '../../kernel/atomic.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { pinUserPages, unpinUserPage } from '../../mm/gup.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import { globals, hfi1, type Hfi1Filedata } from './hfi1-priv.ts';

const { fn } = hfi1;

/** Whether a cache may have one page more. */
export const hfi1CanPinPages = fn(function* hfi1CanPinPages(fd: Hfi1Filedata) {
  return (yield* atomicRead(fd.nLocked)) < globals().cacheSize;
});

/** Pins the page at `address` of current's, whatever `mm` is; `mm` is charged. NULL if there is none. May sleep. */
export const hfi1AcquireUserPages = fn(function* hfi1AcquireUserPages(
  mm: MmStruct,
  address: number,
): Body<Page | null> {
  const own = current().mm as MmStruct;
  yield* downRead(own.mmapSem);
  const pages = yield* pinUserPages(own, address, 1, true);
  yield* upRead(own.mmapSem);
  if (typeof pages === 'number') return null;
  yield* atomicInc(mm.pinnedVm);
  return pages[0] as Page;
});

/** Unpins it. `mm` must be there still. Never sleeps. */
export const hfi1ReleaseUserPages = fn(function* hfi1ReleaseUserPages(mm: MmStruct, page: Page) {
  yield* unpinUserPage(page);
  yield* atomicDec(mm.pinnedVm);
});

/** What a page that is not there is to a program. */
export const NO_PAGE = -EFAULT;

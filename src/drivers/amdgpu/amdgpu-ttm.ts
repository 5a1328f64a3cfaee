/**
 * Backing of BOs: looking up the program's pages, and what the GPU has of them.
 *
 * Nothing of this references a page.
 */
import { EBUSY, EFAULT, ENOMEM, EPERM, ESRCH } from '../../base/errno.ts';
import { setDeviceEntry } from '../../device/translations.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import type { Body } from '../../kernel/operation.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { findVma } from '../../mm/vma.ts';
import { mmgetNotZero, mmput, PAGE_SIZE, type MmStruct } from '../../mm-types/mm-struct.ts';
import { HmmRange, hmmRangeFault, type HmmPfn } from '../hmm/index.ts';
import { gpu } from './gpu.ts';
import { amdgpu, globals, type AmdgpuBo } from './amdgpu-priv.ts';

const { fn } = amdgpu;

export const AMDGPU_GEM_USERPTR_READONLY = 1;
export const AMDGPU_GEM_USERPTR_ANONONLY = 2;
export const AMDGPU_GEM_USERPTR_VALIDATE = 4;
export const AMDGPU_GEM_USERPTR_REGISTER = 8;

/** One attempt: the number of pages, or -EBUSY, -EFAULT, -EPERM. Takes mmap_sem. May sleep. */
function* attempt(bo: AmdgpuBo, range: HmmRange, mm: MmStruct): Body<number> {
  yield* globals().version!.waitForRange(range);
  yield* downRead(mm.mmapSem);
  const vma = findVma(mm, bo.userptr);
  let result = -EFAULT;
  if (vma !== null && vma.vmStart <= bo.userptr) {
    const isForbidden = (bo.flags & AMDGPU_GEM_USERPTR_ANONONLY) !== 0 && vma.mapping !== null;
    result = isForbidden ? -EPERM : yield* hmmRangeFault(range, mm);
  }
  yield* upRead(mm.mmapSem);
  return result;
}

/**
 * `amdgpu_ttm_tt_get_user_pages(bo)`: looks the pages up, and keeps `bo.range` until
 * {@link amdgpuTtmTtGetUserPagesDone}. 0; -EFAULT for a BO that is not registered, or where nothing is mapped; -EPERM;
 * -ENOMEM; -ESRCH when the mm has ended. The BO is reserved. Takes mmap_sem. May sleep.
 */
export const amdgpuTtmTtGetUserPages = fn(function* amdgpuTtmTtGetUserPages(bo: AmdgpuBo) {
  const { version } = globals();
  const mm = version!.mmOf(bo);
  if (mm === null) return -EFAULT;
  if (!(yield* mmgetNotZero(mm))) return -ESRCH;
  const range = yield* kzalloc(HmmRange, GFP_KERNEL);
  let error = -ENOMEM;
  if (range !== null) {
    range.isWrite = (bo.flags & AMDGPU_GEM_USERPTR_READONLY) === 0;
    error = yield* version!.beginRange(bo, range);
    if (error === 0) {
      do error = yield* attempt(bo, range, mm);
      while (error === -EBUSY);
      if (error < 0) yield* version!.endRange(range);
    }
    if (error < 0) yield* kfree(range);
    else bo.range = range;
  }
  yield* mmput(mm);
  return Math.min(error, 0);
});

/**
 * `amdgpu_ttm_tt_get_user_pages_done(bo)`: whether what was looked up is still true; false if nothing was. The BO is
 * reserved, and its invalidations are held off by `version.lock`, or the answer means nothing.
 */
export const amdgpuTtmTtGetUserPagesDone = fn(function* amdgpuTtmTtGetUserPagesDone(bo: AmdgpuBo) {
  const { range } = bo;
  if (range === null) return false;
  const { version } = globals();
  const isValid = yield* version!.isRangeValid(range);
  yield* version!.endRange(range);
  yield* kfree(range);
  bo.range = null;
  return isValid;
});

/** The same, without asking: whoever changes the memory later is heard of in another way. The BO is reserved. */
export const amdgpuTtmTtDropUserPages = fn(
  function* amdgpuTtmTtDropUserPages(bo: AmdgpuBo) {
    yield* globals().version!.endRange(bo.range!);
    yield* kfree(bo.range);
    bo.range = null;
  },
  { name: 'amdgpu_ttm_tt_get_user_pages_done' },
);

function isSame(a: readonly HmmPfn[] | null, b: readonly HmmPfn[]): boolean {
  return (
    a !== null &&
    a.every(({ pfn, isWritable }, at) => b[at]!.pfn === pfn && b[at]!.isWritable === isWritable)
  );
}

/** Whether the GPU has other pages of the BO than were looked up. The BO is reserved. */
export function hasNewPages(bo: AmdgpuBo): boolean {
  return !isSame(bo.pages, bo.range!.pfns!);
}

/** Writes what was looked up, or nothing, into the GPU's page table. No job uses the BO. It is reserved. */
export const amdgpuBoUpdate = fn(
  function* amdgpuBoUpdate(bo: AmdgpuBo, pages: readonly HmmPfn[] | null) {
    const { translations } = gpu().vms.get(bo.fpriv!.vm);
    const first = bo.userptr / PAGE_SIZE;
    const isWritable = (bo.flags & AMDGPU_GEM_USERPTR_READONLY) === 0;
    for (let page = first; page < bo.end / PAGE_SIZE; page += 1) {
      const found = pages?.[page - first];
      const entry =
        found === undefined ? null : { ...found, isWritable: isWritable && found.isWritable };
      yield* setDeviceEntry(translations, page, entry);
    }
    bo.pages = pages;
  },
  { name: 'amdgpu_vm_bo_update' },
);

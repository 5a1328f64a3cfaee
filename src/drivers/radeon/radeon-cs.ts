/**
 * Command submission: DRM_RADEON_CS.
 *
 *     look the buffers up; mmap_sem, if there is memory of the program among them
 *       reserve all; bind those that are not bound: get_user_pages, with all reservations held
 *     up mmap_sem; emit the job; leave its fence in each buffer; unreserve
 *
 * A buffer is told of invalidations under its reservation, so none is taken from under a job between its binding and
 * its fence. What nothing rules out, up to v6.1 and later: that the pages were looked up in the middle of an
 * invalidation which had already called the driver.
 */
import { EAGAIN, ENOENT, ENOMEM, ERESTARTSYS } from '../../base/errno.ts';
import { dmaFenceAlloc, dmaFenceGet, dmaFencePut, type DmaFence } from '../../device/fence.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLockInterruptible, mutexLockNested } from '../../kernel/mutex.ts';
import type { Body } from '../../kernel/operation.ts';
import { current } from '../../kernel/running.ts';
import { downRead, upRead } from '../../kernel/rwsem.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Page } from '../../mm-types/page.ts';
import { mmuIntervalReadBegin, mmuIntervalReadRetry } from '../../mmu-notifier/interval.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { emitJob, type BoardCommand } from './gpu.ts';
import { drmGemObjectPutUnlocked } from './radeon-object.ts';
import { drmGemObjectLookup } from './radeon-gem.ts';
import { globals, radeon, type DrmFile, type RadeonBo } from './radeon.ts';
import {
  radeonBoUnreserve,
  radeonTtmTtPinUserptr,
  radeonTtmTtUnpinUserptr,
  ttmBoValidate,
} from './radeon-ttm.ts';

const { fn } = radeon;

/** A place: byte `offset` of the buffer with that handle. */
export interface BufferPlace {
  readonly handle: number;
  readonly offset: number;
}

/** What a program has the GPU do. */
export type RadeonCommand =
  | { readonly op: 'write'; readonly to: BufferPlace; readonly byte: number }
  | { readonly op: 'add'; readonly to: BufferPlace; readonly addend: number }
  | {
      readonly op: 'compare-swap';
      readonly to: BufferPlace;
      readonly expected: number;
      readonly desired: number;
    }
  | { readonly op: 'copy'; readonly from: BufferPlace; readonly to: BufferPlace };

/** Pages of a user pointer that were looked up early, and the sequence at that moment. */
interface Pinned {
  readonly pages: readonly Page[];
  readonly seq: number;
}

/** What a submission has got so far. */
interface Parser {
  readonly bos: Map<number, RadeonBo>;
  /** In the order in which they are reserved. */
  readonly validated: RadeonBo[];
  readonly pinned: Map<RadeonBo, Pinned>;
  reserved: number;
}

function placesOf(command: RadeonCommand): readonly BufferPlace[] {
  return command.op === 'copy' ? [command.from, command.to] : [command.to];
}

/** Looks all buffers up: 0 or -ENOENT. */
const radeonCsParserRelocs = fn(function* radeonCsParserRelocs(
  parser: Parser,
  filp: DrmFile,
  commands: readonly RadeonCommand[],
) {
  for (const { handle } of commands.flatMap((one) => placesOf(one))) {
    if (parser.bos.has(handle)) continue;
    const bo = yield* drmGemObjectLookup(filp, handle);
    if (bo === null) return -ENOENT;
    parser.bos.set(handle, bo);
  }
  const byAddress = [...parser.bos.values()].toSorted((a, b) => a.address - b.address);
  parser.validated.push(...byAddress);
  return 0;
});

/** Reserves all, the lowest address first: 0, or -ERESTARTSYS for a signal. */
const ttmEuReserveBuffers = fn(function* ttmEuReserveBuffers(parser: Parser) {
  for (const bo of parser.validated) {
    if (parser.reserved > 0) yield* mutexLockNested(bo.resv, 1);
    else if ((yield* mutexLockInterruptible(bo.resv)) !== 0) return -ERESTARTSYS;
    parser.reserved += 1;
  }
  return 0;
});

/** What was looked up early, if it is still what is there: null if there was nothing to look up, or -EAGAIN. */
const stillGood = fn(
  function* stillGood({ pinned }: Parser, bo: RadeonBo): Body<readonly Page[] | number | null> {
    const found = pinned.get(bo);
    if (found === undefined) return null;
    pinned.delete(bo);
    const { pages, seq } = found;
    if (!mmuIntervalReadRetry(bo.notifier, seq)) return pages;
    yield* radeonTtmTtUnpinUserptr(pages, false);
    return -EAGAIN;
  },
  { name: 'radeon_bo_list_validate' },
);

/** Reserves and binds all: 0 or -errno. What is reserved then stays so. */
const radeonBoListValidate = fn(function* radeonBoListValidate(parser: Parser) {
  const error = yield* ttmEuReserveBuffers(parser);
  if (error !== 0) return error;
  for (const bo of parser.validated) {
    const pages = yield* stillGood(parser, bo);
    if (typeof pages === 'number') return pages;
    const result = yield* ttmBoValidate(bo, 'RADEON_GEM_DOMAIN_GTT', pages);
    if (result !== 0) return result;
  }
  return 0;
});

/** Looks up the pages of all user pointers, before anything is reserved. */
const pinFirst = fn(
  function* pinFirst({ validated, pinned }: Parser) {
    const { mmapSem } = current().mm as MmStruct;
    for (const bo of validated) {
      if (!bo.isUserptr) continue;
      const seq = bo.notifier.mm === null ? 0 : yield* mmuIntervalReadBegin(bo.notifier);
      yield* downRead(mmapSem);
      const pages = yield* radeonTtmTtPinUserptr(bo);
      yield* upRead(mmapSem);
      if (typeof pages === 'number') return pages;
      pinned.set(bo, { pages, seq });
    }
    return 0;
  },
  { name: 'radeon_cs_get_user_pages' },
);

/** All buffers reserved and bound: 0 or -errno. */
const validate = fn(
  function* validate(parser: Parser) {
    if (globals().userptr!.pinsFirst === true) {
      const error = yield* pinFirst(parser);
      return error === 0 ? yield* radeonBoListValidate(parser) : error;
    }
    const { mmapSem } = current().mm as MmStruct;
    const needMmapLock = parser.validated.some((bo) => bo.isUserptr);
    if (needMmapLock) yield* downRead(mmapSem);
    const error = yield* radeonBoListValidate(parser);
    if (needMmapLock) yield* upRead(mmapSem);
    return error;
  },
  { name: 'radeon_cs_parser_relocs' },
);

/** With the addresses where the buffers are bound. */
function relocated(bos: ReadonlyMap<number, RadeonBo>, command: RadeonCommand): BoardCommand {
  const at = ({ handle, offset }: BufferPlace): number =>
    (bos.get(handle) as RadeonBo).gartStart * PAGE_SIZE + offset;
  if (command.op === 'copy') return { ...command, from: at(command.from), to: at(command.to) };
  return { ...command, to: at(command.to) };
}

/** Hands the job to the GPU, and leaves its fence in each buffer. They are reserved and bound. */
const radeonIbSchedule = fn(function* radeonIbSchedule(
  { bos, validated }: Parser,
  rdevIndex: number,
  commands: readonly RadeonCommand[],
  fence: DmaFence,
) {
  for (const bo of validated) {
    yield* dmaFenceGet(fence);
    if (bo.fence !== null) yield* dmaFencePut(bo.fence);
    bo.fence = fence;
  }
  const job = commands.map((command) => relocated(bos, command));
  yield* emitJob(rdevIndex, job, fence);
});

const radeonCsParserFini = fn(function* radeonCsParserFini(parser: Parser) {
  for (const bo of parser.validated.slice(0, parser.reserved)) yield* radeonBoUnreserve(bo);
  for (const { pages } of parser.pinned.values()) yield* radeonTtmTtUnpinUserptr(pages, false);
  for (const bo of parser.bos.values()) yield* drmGemObjectPutUnlocked(bo);
});

const submit = fn(
  function* submit(
    parser: Parser,
    filp: DrmFile,
    commands: readonly RadeonCommand[],
    early: DmaFence | null,
  ) {
    let error = yield* radeonCsParserRelocs(parser, filp, commands);
    if (error === 0) error = yield* validate(parser);
    let fence = early;
    // Allocated with all reservations held.
    if (error === 0 && fence === null) fence = yield* dmaFenceAlloc(GFP_KERNEL);
    if (error === 0 && fence === null) error = -ENOMEM;
    if (error === 0) yield* radeonIbSchedule(parser, filp.rdev!.index, commands, fence!);
    else if (fence !== null) yield* dmaFencePut(fence);
    return error;
  },
  { name: 'radeon_cs_ioctl' },
);

/**
 * `DRM_RADEON_CS`: 0 when the job is queued; -ENOENT, -ENOMEM, -ERESTARTSYS; for memory of the program also -EPERM and
 * -EFAULT; where pages are looked up early, -EAGAIN if they have changed meanwhile. May sleep and fault.
 */
export const radeonCsIoctl = fn(function* radeonCsIoctl(
  filp: DrmFile,
  commands: readonly RadeonCommand[],
) {
  let early: DmaFence | null = null;
  if (globals().userptr!.allocatesFirst === true) {
    early = yield* dmaFenceAlloc(GFP_KERNEL);
    if (early === null) return -ENOMEM;
  }
  const parser: Parser = { bos: new Map(), validated: [], pinned: new Map(), reserved: 0 };
  const error = yield* submit(parser, filp, commands, early);
  yield* radeonCsParserFini(parser);
  return error;
});

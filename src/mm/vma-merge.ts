/**
 * When neighbouring VMAs become one, and how.
 *
 * Two neighbours are one if they have the same flags, file and anon_vma (or one has none) and the offset
 * goes on from one to the other. It is tried where a mapping is made, moved, grown or changes its flags,
 * for exactly that range; two neighbours that would fit stay apart until then.
 * Source: recordings; v6.18 mm/vma.c for what no recording shows (both neighbours fit, with different
 * anon_vmas: only the left one is taken).
 */
import { ENOMEM } from '../base/errno.ts';
import { fn } from '../kernel/call.ts';
import type { File } from '../kernel/open-file.ts';
import { running } from '../kernel/running.ts';
import type { AnonVma } from '../mm-types/anon-vma.ts';
import { PAGE_SIZE, type MmStruct } from '../mm-types/mm-struct.ts';
import { VM_IGNORE_MERGE, VM_SPECIAL } from '../mm-types/vm-flags.ts';
import type { VmArea } from '../mm-types/vma.ts';
import { anonVmaClone, vmaHadUncowedParents } from './anon-vma.ts';
import { behaviourOf } from './behaviour.ts';
import { changeVmas, splitVma } from './vma-change.ts';
import { findVma, findVmaBelow, MAP_COUNT_MAX, vmaNext, vmaPrevious } from './vma.ts';

/** What is about to be at [start, end). */
export interface Proposal {
  readonly start: number;
  readonly end: number;
  readonly flags: number;
  readonly file: File | null;
  readonly pgoff: number;
  readonly anonVma: AnonVma | null;
  /** The VMA that is there now, if only its flags change, or the one it is copied from. */
  readonly source: VmArea | null;
}

/** Whether `vma` may take the proposal in as far as anonymous pages are concerned. */
function hasMergeableAnonVma(vma: VmArea, proposal: Proposal): boolean {
  const own = vma.anonVma;
  const { anonVma, source } = proposal;
  if (own === anonVma) return true;
  // A VMA of a forked child may still map the parent's pages: taking it in would mix up the links.
  if (own === null) {
    if (!behaviourOf(running).mergesFaultedIntoUnfaulted) return false;
    return source === null || !vmaHadUncowedParents(source);
  }
  return anonVma === null && !vmaHadUncowedParents(vma);
}

function isMergeable(vma: VmArea, proposal: Proposal): boolean {
  return (
    ((vma.vmFlags ^ proposal.flags) & ~VM_IGNORE_MERGE) === 0 &&
    vma.vmFile === proposal.file &&
    hasMergeableAnonVma(vma, proposal)
  );
}

/** Whether the VMA before can be extended over the proposal. */
function canMergeLeft(left: VmArea | null, proposal: Proposal): boolean {
  return (
    left !== null &&
    left.vmEnd === proposal.start &&
    left.vmPgoff + (left.vmEnd - left.vmStart) / PAGE_SIZE === proposal.pgoff &&
    isMergeable(left, proposal)
  );
}

/** Whether the VMA after can be, or both with it. */
function canMergeRight(left: VmArea | null, right: VmArea | null, proposal: Proposal): boolean {
  if (right === null || right.vmStart !== proposal.end) return false;
  const pages = (proposal.end - proposal.start) / PAGE_SIZE;
  if (proposal.pgoff + pages !== right.vmPgoff || !isMergeable(right, proposal)) return false;
  if (left === null) return true;
  // Each of them fits the middle; they must also fit one another.
  return left.anonVma === null || right.anonVma === null || left.anonVma === right.anonVma;
}

/** Gives `target` the anon_vma of what it takes in, if it has none. Returns 0 or -ENOMEM. */
const dupAnonVma = fn(function* dupAnonVma(target: VmArea, source: VmArea | null) {
  if (source === null || source.anonVma === null || target.anonVma !== null) return 0;
  target.anonVma = source.anonVma;
  return yield* anonVmaClone(target, source);
});

/**
 * `vma_merge_new_range`: extends a neighbour, or both, over free space. Returns the VMA, or NULL if none
 * fits or memory is lacking. `isLeftOnly` is for the heap. mmap_sem is held for write.
 */
export const vmaMergeNewRange = fn(function* vmaMergeNewRange(
  mm: MmStruct,
  proposal: Proposal,
  isLeftOnly = false,
) {
  if ((proposal.flags & VM_SPECIAL) !== 0) return null;
  const { start, end } = proposal;
  const before = findVmaBelow(mm, start);
  const after = isLeftOnly ? null : findVma(mm, end);
  const left = canMergeLeft(before, proposal) ? before : null;
  const right = canMergeRight(left, after, proposal) ? after : null;
  const target = left ?? right;
  if (target === null) return null;
  // What it takes in is the right neighbour, or the pages that mremap is going to move.
  const isRightFaulted = left !== null && right !== null && right.anonVma !== null;
  const faulted = isRightFaulted ? right : proposal.source;
  if ((yield* dupAnonVma(target, faulted)) !== 0) return null;
  yield* changeVmas(mm, {
    main: {
      vma: target,
      start: left === null ? start : left.vmStart,
      end: right === null ? end : right.vmEnd,
    },
    neighbour: null,
    insert: null,
    remove: left !== null && right !== null ? [right] : [],
  });
  return target;
});

/** The new flags of [start, end), a part of `vma`. */
function flagChange(vma: VmArea, start: number, end: number, flags: number): Proposal {
  return {
    start,
    end,
    flags,
    file: vma.vmFile,
    pgoff: vma.vmPgoff + (start - vma.vmStart) / PAGE_SIZE,
    anonVma: vma.anonVma,
    source: vma,
  };
}

/**
 * `vma_merge_existing_range`: a part of `vma` that reaches one of its ends joins the neighbour there; all
 * of it, both. Returns the VMA that has it then, NULL if nothing fits, or -ENOMEM. mmap_sem is held for
 * write.
 */
const vmaMergeExistingRange = fn(function* vmaMergeExistingRange(
  mm: MmStruct,
  vma: VmArea,
  proposal: Proposal,
) {
  const { start, end } = proposal;
  if ((proposal.flags & VM_SPECIAL) !== 0) return null;
  const before = start === vma.vmStart ? vmaPrevious(vma) : null;
  const after = end === vma.vmEnd ? vmaNext(vma) : null;
  const left = canMergeLeft(before, proposal) ? before : null;
  const right = canMergeRight(left, after, proposal) ? after : null;
  const target = left ?? right;
  if (target === null) return null;
  const isBoth = left !== null && right !== null;
  const isWhole = start === vma.vmStart && end === vma.vmEnd;
  const faulted = isBoth && right.anonVma !== null ? right : vma;
  if ((yield* dupAnonVma(target, faulted)) !== 0) return -ENOMEM;
  const grown = {
    vma: target,
    start: left === null ? start : left.vmStart,
    end: right === null ? end : right.vmEnd,
  };
  if (isWhole) {
    const remove = isBoth ? [vma, right] : [vma];
    yield* changeVmas(mm, { main: grown, neighbour: null, insert: null, remove });
    return target;
  }
  const rest =
    left === null ? { vma, start: vma.vmStart, end: start } : { vma, start: end, end: vma.vmEnd };
  // The one with the lower range is the main one.
  yield* changeVmas(
    mm,
    left === null
      ? { main: rest, neighbour: grown, insert: null, remove: [] }
      : { main: grown, neighbour: rest, insert: null, remove: [] },
  );
  return target;
});

/**
 * `vma_modify_flags`: makes [start, end), a part of `vma`, a VMA of its own or joins it to a neighbour that
 * has `flags` already; the caller then sets the flags of what is returned. -ENOMEM without memory or above
 * the limit of VMAs. mmap_sem is held for write.
 */
export const vmaModifyFlags = fn(function* vmaModifyFlags(
  vma: VmArea,
  start: number,
  end: number,
  flags: number,
) {
  const mm = vma.vmMm!;
  const merged = yield* vmaMergeExistingRange(mm, vma, flagChange(vma, start, end, flags));
  if (merged !== null) return merged;
  if (vma.vmStart < start) {
    if (mm.mapCount >= MAP_COUNT_MAX) return -ENOMEM;
    const error = yield* splitVma(vma, start, true);
    if (error !== 0) return error;
  }
  if (vma.vmEnd > end) {
    if (mm.mapCount >= MAP_COUNT_MAX) return -ENOMEM;
    const error = yield* splitVma(vma, end, false);
    if (error !== 0) return error;
  }
  return vma;
});

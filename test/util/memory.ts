/** VMAs and files made by hand, for tests of the memory below the system calls. */
import { fn } from '../../src/kernel/call.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel, NO_FAULTS, type Budget } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { kzalloc } from '../../src/kernel/slab.ts';
import type { Finding } from '../../src/kernel/finding.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { AddressSpace } from '../../src/mm-types/address-space.ts';
import { mmAlloc, PAGE_SIZE, type MmStruct } from '../../src/mm-types/mm-struct.ts';
import {
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
} from '../../src/mm-types/vm-flags.ts';
import { unlinkAnonVmas } from '../../src/mm/anon-vma.ts';
import { unlinkFileVma, vmaLinkFile } from '../../src/mm/file-mapping.ts';
import { tlbFinishMmu, tlbGatherMmu } from '../../src/mm/mmu-gather.ts';
import { vmaLink, vmAreaAlloc, vmAreaFree, vmaUnlink } from '../../src/mm/vma.ts';
import { freePgtables, pgdFree, unmapVmas } from '../../src/mm/zap.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';

/** Where tests map. */
export const BASE = 0x1_0000_0000;
/** The address of page `at` of the window. */
export function pageAt(at: number): number {
  return BASE + at * PAGE_SIZE;
}

export const MAY = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
export const RW = VM_READ | VM_WRITE | MAY;
export const RW_SHARED = RW | VM_SHARED;

export const newMm = fn(function* newMm() {
  return (yield* mmAlloc())!;
});

export const newFile = fn(function* newFile(pages: number) {
  const mapping = (yield* kzalloc(AddressSpace, GFP_KERNEL))!;
  mapping.size = pages * PAGE_SIZE;
  return mapping;
});

/** Maps pages [first, first + count) of the window: anonymous, or a file from page `offset` on. */
export const map = fn(function* map(
  mm: MmStruct,
  pages: readonly [first: number, count: number],
  vmFlags: number = RW,
  file: { readonly mapping: AddressSpace; readonly offset?: number } | null = null,
) {
  const [first, count] = pages;
  const vma = (yield* vmAreaAlloc(mm, pageAt(first), pageAt(first + count)))!;
  vma.vmFlags = vmFlags;
  vma.vmPgoff = file === null ? vma.vmStart / PAGE_SIZE : (file.offset ?? 0);
  vma.mapping = file?.mapping ?? null;
  vmaLink(mm, vma);
  yield* vmaLinkFile(vma);
  return vma;
});

/** Unmaps everything and frees the page tables. */
export const unmapAll = fn(function* unmapAll(mm: MmStruct) {
  const all = vmas(mm);
  for (const vma of all) vmaUnlink(mm, vma);
  const tlb = yield* tlbGatherMmu(mm);
  yield* unmapVmas(tlb, all, 0, 2 ** 47);
  for (const vma of all) {
    yield* unlinkAnonVmas(vma);
    yield* unlinkFileVma(vma);
  }
  yield* freePgtables(tlb, all, 0, 0);
  yield* tlbFinishMmu(tlb);
  for (const vma of all) yield* vmAreaFree(vma);
  yield* pgdFree(mm);
});

export interface RanAlone {
  readonly kernel: Kernel;
  readonly findings: readonly Finding[];
}

/** Runs bodies as tasks on a bare kernel, the first that can go on first. */
export function runAlone(
  bodies: Readonly<Record<string, (kernel: Kernel) => Body<unknown>>>,
  options: { readonly budget?: Partial<Budget>; readonly outcomes?: readonly number[] } = {},
): RanAlone {
  const kernel = new Kernel({
    budget: { ...NO_FAULTS, ...options.budget },
    watches: allDetectors(),
    tracer: null,
  });
  const outcomes = [...(options.outcomes ?? [])];
  const before = setRunning(kernel);
  for (const [name, body] of Object.entries(bodies)) {
    kernel.spawn(name, 'thread', null, () => body(kernel));
  }
  for (;;) {
    const task = kernel.tasks.find((candidate) => kernel.isEnabled(candidate));
    if (task === undefined) break;
    const arity = task.pending?.arity(task) ?? 1;
    kernel.step(task, arity > 1 ? (outcomes.shift() ?? 0) : 0);
  }
  kernel.finish();
  setRunning(before);
  return { kernel, findings: kernel.findings };
}

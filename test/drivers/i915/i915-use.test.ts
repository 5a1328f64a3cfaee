/**
 * Programs that use user pointers as they are meant to be used, after IGT's gem_userptr_blits: what the GPU writes is
 * what the program reads, and the reverse, in every execution beside what else happens to the memory.
 */
import { describe, expect, test } from 'vitest';
import { EAGAIN, EFAULT } from '../../../src/base/errno.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ } from '../../../src/base/mman.ts';
import { defineScenario } from '../../../src/catalogue/define-scenario.ts';
import { checkVariant } from '../../../src/check/check-variant.ts';
import {
  DRM_I915_GEM_EXECBUFFER2,
  DRM_I915_GEM_SET_DOMAIN,
  DRM_I915_GEM_USERPTR,
  DRM_I915_GEM_WAIT,
  DRM_IOCTL_GEM_CLOSE,
  I915_PATH,
  i915Fixed,
  i915GetPut,
} from '../../../src/drivers/i915/index.ts';
import { warnOn } from '../../../src/kernel/assertion.ts';
import { fn } from '../../../src/kernel/call.ts';
import { goal } from '../../../src/kernel/choose.ts';
import type { ModuleType } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import type { Machine } from '../../../src/mm/machine.ts';
import type { Process } from '../../../src/mm/process.ts';
import { reclaimPage } from '../../../src/mm/reclaim.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../../src/mm-types/mm-struct.ts';

const ADDRESS = 0x40_0000;
const NEIGHBOUR = ADDRESS + PAGE_SIZE;
/** How often a program submits again what was to be tried again. */
const ATTEMPTS = 2;

interface Use {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly fd: number;
  /** A buffer that is the page at ADDRESS. */
  readonly handle: number;
}

function setupWith(module: ModuleType) {
  return (machine: Machine): Use => {
    const process = machine.process();
    const mm = process.mm!;
    machine.runNow(mmgrab(mm));
    machine.runNow(process.mmap(ADDRESS, 2 * PAGE_SIZE));
    machine.runNow(process.store(ADDRESS, 7));
    machine.load(module);
    const fd = machine.runNow<number>(process.open(I915_PATH));
    const request = { userPtr: ADDRESS, userSize: PAGE_SIZE, flags: 0 };
    const handle = machine.runNow<number>(process.ioctl(fd, DRM_I915_GEM_USERPTR, request));
    machine.runNow(process.ioctl(fd, DRM_I915_GEM_SET_DOMAIN, handle));
    return { process, mm, fd, handle };
  };
}

/** Submits, again if it is told so, and waits for the GPU. */
const run = fn(function* run({ process, fd }: Use, handle: number, commands: readonly unknown[]) {
  let error = -EAGAIN;
  for (let attempt = 0; attempt < ATTEMPTS && error === -EAGAIN; attempt += 1) {
    error = yield* process.ioctl(fd, DRM_I915_GEM_EXECBUFFER2, commands);
  }
  if (error === 0) yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle);
  return error;
});

const reads = fn(function* reads({ process }: Use, address: number, byte: number) {
  const found = yield* process.load(address);
  warnOn(found !== byte, `the program reads ${found} at ${address - ADDRESS}, not ${byte}`);
});

function copy(handle: number, from: number, to: number) {
  return { op: 'copy', from: { handle, offset: from }, to: { handle, offset: to } } as const;
}

/** The GPU adds to what the program stored, and the program reads that. */
function* once(use: Use): Body<void> {
  const { handle } = use;
  const error = yield* run(use, handle, [{ op: 'add', to: { handle, offset: 0 }, addend: 1 }]);
  yield* reads(use, ADDRESS, error === 0 ? 8 : 7);
  if (error === 0) goal('both ways');
}

/** The same, without a second attempt. */
function* onceOnly({ process, fd, handle }: Use): Body<void> {
  const command = { op: 'add', to: { handle, offset: 0 }, addend: 1 };
  const error = yield* process.ioctl(fd, DRM_I915_GEM_EXECBUFFER2, [command]);
  if (error !== 0) return;
  yield* process.ioctl(fd, DRM_I915_GEM_WAIT, handle);
  warnOn((yield* process.load(ADDRESS)) !== 8, 'the program reads what the GPU wrote');
  goal('both ways');
}

type Actor = (use: Use) => Body<unknown>;

function holds(name: string, programBody: Actor, beside: Actor, module: ModuleType = i915Fixed) {
  const scenario = defineScenario<Use>({
    name,
    variants: { v: { expect: { verdict: 'clean' } } },
    setup: setupWith(module),
    tasks: { program: { run: programBody }, beside: { run: beside } },
    goals: ['both ways'],
    *finally({ process, mm }) {
      if (process.mm !== null) yield* process.exit();
      yield* mmdrop(mm);
    },
  });
  const { violations, verdict, complete } = checkVariant(scenario as never, 'v');
  expect(violations.map(({ message }) => message)).toEqual([]);
  expect({ verdict, complete }).toEqual({ verdict: 'clean', complete: true });
}

describe('data is the same on both sides, in every execution, beside', () => {
  test('reclaim of the page (swapping)', () => {
    holds('reclaim', once, function* beside({ mm }) {
      yield* reclaimPage(mm, ADDRESS, true);
    });
  }, 300_000);

  test('another thread that makes the memory read-only (stress-mm-invalidate)', () => {
    holds('protect', onceOnly, function* beside({ process }) {
      yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
    });
  }, 300_000);

  test('a thread that makes and closes buffers on the same page (create-destroy)', () => {
    holds('close', once, function* beside({ process, fd }) {
      const request = { userPtr: ADDRESS, userSize: PAGE_SIZE, flags: 0 };
      const handle = yield* process.ioctl(fd, DRM_I915_GEM_USERPTR, request);
      yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, handle);
    });
  }, 300_000);

  test('a neighbouring page that is replaced (vma-merge)', () => {
    holds('neighbour', once, function* beside({ process }) {
      const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
      yield* process.mmap(NEIGHBOUR, PAGE_SIZE, { flags });
    });
  }, 300_000);

  test('the same with get and put, where the neighbour is not the buffer’s', () => {
    holds(
      'neighbour-get-put',
      once,
      function* beside({ process }) {
        yield* process.munmap(NEIGHBOUR, PAGE_SIZE);
      },
      i915GetPut,
    );
  }, 300_000);
});

describe('a job that comes after', () => {
  test('new memory at the same place uses the new page (map-fixed-invalidate)', () => {
    holds(
      'fresh',
      function* program(use) {
        const { process, handle } = use;
        const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        yield* process.mmap(ADDRESS, PAGE_SIZE, { flags });
        yield* process.store(ADDRESS, 9);
        const error = yield* run(use, handle, [copy(handle, 0, 2)]);
        yield* reads(use, ADDRESS + 2, error === 0 ? 9 : 0);
        if (error === 0) goal('both ways');
      },
      function* beside({ process, fd }) {
        // Something else that looks the handle up.
        yield* process.ioctl(fd, DRM_IOCTL_GEM_CLOSE, 9);
      },
    );
  }, 300_000);

  test('munmap is refused, or was before it (sync-unmap)', () => {
    holds(
      'unmapped',
      function* program(use) {
        const { handle } = use;
        const error = yield* run(use, handle, [copy(handle, 0, 1)]);
        warnOn(![0, -EFAULT, -EAGAIN].includes(error), `submission says ${error}`);
        if (error === 0) goal('both ways');
      },
      function* beside({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    );
  }, 300_000);
});

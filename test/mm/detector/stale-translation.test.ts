import { expect, test } from 'vitest';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
} from '../../../src/base/mman.ts';
import { allDetectors } from '../../../src/check/detector/index.ts';
import { programOf } from '../../../src/check/scenario.ts';
import { SourceDpor } from '../../../src/check/source-dpor.ts';
import { setBehaviour } from '../../../src/mm/behaviour.ts';
import { bootMachine } from '../../../src/mm/machine.ts';
import type { Process } from '../../../src/mm/process.ts';

const A = 0x1_0000_0000;
const B = 0x1_0004_0000;
const PAGE = 4096;
const FIXED = MREMAP_MAYMOVE | MREMAP_FIXED;

/** mremap beside truncation, the moved page in a TLB from the start; what was found, each once. */
function mremapBesideTruncation(flushesUnderLock: boolean): string[] {
  const found = new Set<string>();
  const scenario = {
    name: 'mremap-beside-truncation',
    variants: { v: {} },
    boot: bootMachine,
    setup(machine: ReturnType<typeof bootMachine>) {
      setBehaviour(machine, { mremapFlushesUnderLock: flushesUnderLock });
      const process = machine.process();
      const fd = machine.runNow<number>(process.memfdCreate('f'));
      machine.runNow(process.ftruncate(fd, PAGE));
      machine.runNow(process.mmap(A, PAGE, { flags: MAP_SHARED | MAP_FIXED, fd }));
      machine.runNow(process.store(A, 1));
      return { process, fd };
    },
    tasks: {
      mremap: {
        *run({ process }: { process: Process }) {
          yield* process.mremap(A, PAGE, PAGE, { flags: FIXED, newAddress: B });
        },
      },
      truncate: {
        *run({ process, fd }: { process: Process; fd: number }) {
          yield* process.ftruncate(fd, 0);
        },
      },
    },
  };
  const result = new SourceDpor(programOf(scenario, 'v'), {
    watches: allDetectors(),
    onExecution({ kernel }) {
      for (const { kind, invariant } of kernel.findings) found.add(invariant ?? kind);
      return false;
    },
  }).run();
  expect(result.isComplete).toBe(true);
  return [...found];
}

test('mremap that flushes after dropping the locks lets truncation free a page that a TLB knows', () => {
  expect(mremapBesideTruncation(false)).toEqual(['I8a']);
});

test('mremap that flushes under the locks does not', () => {
  expect(mremapBesideTruncation(true)).toEqual([]);
});

test('an entry that was taken out without a flush is found when all is over', () => {
  const machine = bootMachine({ watches: allDetectors() });
  const process = machine.process();
  machine.runNow(process.mmap(A, PAGE, { flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED }));
  machine.runNow(process.load(A));
  process.mm!.pageTables.find(A, 1)!.ptes[0] = 0;
  machine.end();
  expect(machine.findings.map(({ message }) => message)).toEqual([
    'when all is over, what CPU -1 has in its TLB for 0x100000000 reaches frame 1, which is mapped no more',
  ]);
});

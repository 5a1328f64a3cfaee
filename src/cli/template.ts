/**
 * What `init` writes: a small driver to change, with its scenario, and a test of it. The driver checks
 * clean; a comment says which line to take away to see it break.
 */

/** `my-gadget` → `myGadget`. */
function camelCase(name: string): string {
  return name.replaceAll(/-([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
}

const DRIVER = `/** A device that watches the address space of its user. Ask: npx mmulab check ./KEBAB.ts */
import { atomic, atomicInc, containerOf, currentMm, defineScenario, embed, ENOMEM } from 'mmulab';
import { GFP_KERNEL, kfree, kzalloc, MmuNotifier, mmuNotifierRegister } from 'mmulab';
import { mmuNotifierUnregister, moduleText, PAGE_SIZE, registerChrdev, struct } from 'mmulab';
import type { File, InstanceOf } from 'mmulab';

const { fn, module, text } = moduleText('SNAKE');
const Mirror = struct('SNAKE_mirror', { notifier: embed(MmuNotifier), invalidated: atomic(0) });

const CAMELInvalidate = fn(function* CAMELInvalidate(notifier: MmuNotifier) {
  yield* atomicInc(containerOf(notifier, Mirror, 'notifier').invalidated);
  return 0;
});

const CAMELOpen = fn(function* CAMELOpen(file: File) {
  const mirror = yield* kzalloc(Mirror, GFP_KERNEL);
  if (mirror === null) return -ENOMEM;
  mirror.notifier.ops = { invalidateRangeStart: CAMELInvalidate };
  const error = yield* mmuNotifierRegister(mirror.notifier, currentMm()!);
  if (error === 0) file.privateData = mirror;
  else yield* kfree(mirror);
  return error;
});

const CAMELRelease = fn(function* CAMELRelease(file: File) {
  const mirror = file.privateData as InstanceOf<typeof Mirror>;
  // Take the next line away and check again: munmap still finds the notifier, which is freed.
  yield* mmuNotifierUnregister(mirror.notifier, mirror.notifier.mm!);
  yield* kfree(mirror);
});

const CAMELInit = fn(function* CAMELInit() {
  const fops = { owner: text, open: CAMELOpen, release: CAMELRelease };
  return yield* registerChrdev('/dev/KEBAB', fops);
});

export const scenario = defineScenario({
  name: 'KEBAB',
  variants: { mine: {} },
  faults: { allocations: 1 },
  setup(machine) {
    machine.load(module({ init: CAMELInit }));
    const process = machine.process();
    machine.runNow(process.mmap(0x10000, PAGE_SIZE));
    return process;
  },
  tasks: {
    open: {
      *run(process) {
        yield* process.close(yield* process.open('/dev/KEBAB'));
      },
    },
    munmap: {
      *run(process) {
        yield* process.munmap(0x10000, PAGE_SIZE);
      },
    },
  },
  goals: [{ name: 'munmap told the driver', calls: 'SNAKE_invalidate' }],
});
`;

const TEST = `import { expect, test } from 'vitest';
import 'mmulab/vitest';
import { scenario } from './KEBAB.ts';

test('KEBAB survives every interleaving of open, close and munmap', () => {
  expect(scenario).toHoldInEveryInterleaving();
});
`;

export interface Template {
  readonly driver: string;
  readonly test: string;
}

/** The files for a driver of that name, which is in kebab case. */
export function template(name: string): Template {
  const fill = (text: string): string =>
    text
      .replaceAll('KEBAB', name)
      .replaceAll('SNAKE', name.replaceAll('-', '_'))
      .replaceAll('CAMEL', camelCase(name));
  return { driver: fill(DRIVER), test: fill(TEST) };
}

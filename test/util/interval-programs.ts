/** Small programs of the interval sequence, for all their interleavings. */
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import type { Program } from '../../src/check/program.ts';
import { programOf } from '../../src/check/scenario.ts';
import { fn } from '../../src/kernel/call.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { kzalloc } from '../../src/kernel/slab.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import { setNotifierBehaviour, type NotifierBehaviour } from '../../src/mmu-notifier/behaviour.ts';
import {
  mmuIntervalNotifierInsert,
  mmuIntervalSetSeq,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
} from '../../src/mmu-notifier/interval.ts';
import {
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  type MmuNotifierRange,
} from '../../src/mmu-notifier/mmu-notifier.ts';
import { Mirror, newMirror, rangeOf } from './interval-user.ts';

export interface Mirrors {
  readonly mm: MmStruct;
  /** In the tree, from set-up. */
  readonly one: Mirror;
  /** In no tree; the mm is ready for it. */
  readonly two: Mirror;
  /** In the tree, and to be freed by who removes it; with `hasDynamic` only. */
  readonly dynamic: Mirror | null;
}

/** Without a lock of its own, so that only the core's steps are there. */
export const bareOps: MmuIntervalNotifierOps = {
  invalidate: fn(function* bareInvalidate(
    mni: MmuIntervalNotifier,
    _range: MmuNotifierRange,
    seq: number,
  ) {
    yield* mmuIntervalSetSeq(mni, seq);
    return true;
  }),
};

export const INTERVAL = { start: 0x40_0000, length: 4096 };
function blockable(mm: MmStruct, start: number): MmuNotifierRange {
  return { ...rangeOf(mm, start, start + 4096), flags: MMU_NOTIFIER_RANGE_BLOCKABLE };
}

export const hit = (mm: MmStruct): MmuNotifierRange => blockable(mm, INTERVAL.start);
export const miss = (mm: MmStruct): MmuNotifierRange => blockable(mm, 0x50_0000);

export interface ProgramOptions {
  readonly notifiers?: Partial<NotifierBehaviour>;
  readonly ops?: MmuIntervalNotifierOps;
  readonly hasDynamic?: boolean;
}

/** Runs the bodies side by side on one mm. */
export function intervalScenario(
  bodies: readonly ((state: Mirrors) => Body<unknown>)[],
  options: ProgramOptions = {},
) {
  const ops = options.ops ?? bareOps;
  return defineScenario<Mirrors>({
    name: 'interval',
    variants: { only: {} },
    setup: (machine) => {
      setNotifierBehaviour(machine, options.notifiers ?? {});
      const mm = machine.process().mm!;
      const [one, two] = [newMirror(machine), newMirror(machine)];
      machine.runNow(mmuIntervalNotifierInsert(one.mni, mm, INTERVAL, ops));
      if (options.hasDynamic !== true) return { mm, one, two, dynamic: null };
      const dynamic = machine.runNow<Mirror | null>(kzalloc(Mirror, GFP_KERNEL));
      machine.runNow(mmuIntervalNotifierInsert(dynamic!.mni, mm, INTERVAL, ops));
      return { mm, one, two, dynamic };
    },
    tasks: Object.fromEntries(bodies.map((run, at) => [`task${at}`, { run }])),
  });
}

export function intervalProgram(
  bodies: readonly ((state: Mirrors) => Body<unknown>)[],
  options: ProgramOptions = {},
): Program {
  return programOf(intervalScenario(bodies, options), 'only');
}

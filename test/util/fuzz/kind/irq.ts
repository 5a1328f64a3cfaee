/**
 * Interrupts turned off and on, alone and with a spinlock: what `save` returned is needed to restore. Of
 * each a program has one at most, so that what was saved last is restored first.
 */
import { localIrqRestore, localIrqSave } from '../../../../src/kernel/preempt.ts';
import {
  spinlock,
  spinLockIrqsave,
  spinUnlockIrqrestore,
  type Spinlock,
} from '../../../../src/kernel/spinlock.ts';
import { Misuse, stepsOf, taskNumber, type FuzzOperation, type Kind } from './kind.ts';

/** For each task what it is to restore, the latest last. */
type Flags = readonly (readonly boolean[])[];

interface Locked {
  /** 0, or 1 + owner. */
  readonly owner: number;
  readonly flags: Flags;
}

function pushed(flags: Flags, task: number, isOff: boolean): Flags {
  const all = Array.from({ length: Math.max(flags.length, task + 1) }, (_, at) => flags[at] ?? []);
  return all.with(task, [...(all[task] ?? []), isOff]);
}

function popped(flags: Flags, task: number): { readonly flags: Flags; readonly wereOff: boolean } {
  const own = flags[task] ?? [];
  const wereOff = own.at(-1);
  if (wereOff === undefined) throw new Misuse('interrupts are restored that were not saved');
  return { flags: flags.with(task, own.slice(0, -1)), wereOff };
}

const LOCAL_IRQ_RESTORE: FuzzOperation = {
  name: 'local_irq_restore',
  steps: stepsOf<Flags>({
    take({ value, task }) {
      const { flags, wereOff } = popped(value, task);
      return { value: flags, irqsOff: wereOff };
    },
  }),
  run: ({ kept }) => localIrqRestore(kept.pop() ?? -1),
};

export const IRQ: Kind = {
  prefix: 'i',
  initial: [] as unknown as number,
  show: () => 0,
  field: () => 0,
  valueOf: () => 0,
  operations: [],
  acquisitions: [
    {
      operation: {
        name: 'local_irq_save',
        steps: stepsOf<Flags>({
          take({ value, task, irqsOff }) {
            return { value: pushed(value, task, irqsOff), irqsOff: true };
          },
          disablesPreemption: true,
        }),
        run: () => localIrqSave(),
        isKept: true,
      },
      takenWhen: null,
      releases: [[LOCAL_IRQ_RESTORE]],
    },
  ],
};

const UNLOCK: FuzzOperation = {
  name: 'spin_unlock_irqrestore',
  steps: stepsOf<Locked>({
    take({ value, task }) {
      if (value.owner !== task + 1) throw new Misuse('spin_unlock by another than the owner');
      const { flags, wereOff } = popped(value.flags, task);
      return { writes: 1, value: { owner: 0, flags }, preempt: -1, irqsOff: wereOff };
    },
  }),
  run: ({ state, key, kept }) => spinUnlockIrqrestore(state[key] as Spinlock, kept.pop() ?? -1),
};

export const SPINLOCK_IRQ: Kind = {
  prefix: 'q',
  initial: { owner: 0, flags: [] } satisfies Locked as unknown as number,
  show: (value) => (value as unknown as Locked).owner,
  holds: (value, task) => ((value as unknown as Locked).owner === task + 1 ? 1 : 0),
  field: spinlock,
  valueOf(state, key) {
    const { owner } = state[key] as Spinlock;
    return owner === null ? 0 : taskNumber(owner) + 1;
  },
  operations: [],
  acquisitions: [
    {
      operation: {
        name: 'spin_lock_irqsave',
        steps: stepsOf<Locked>({
          take({ value: { owner, flags }, task, irqsOff }) {
            if (owner !== 0) return null;
            const value = { owner: task + 1, flags: pushed(flags, task, irqsOff) };
            return { writes: 1, value, preempt: 1, irqsOff: true };
          },
          disablesPreemption: true,
        }),
        run: ({ state, key }) => spinLockIrqsave(state[key] as Spinlock),
        isKept: true,
      },
      takenWhen: null,
      releases: [[UNLOCK]],
    },
  ],
};

/**
 * SRCU: read sections, and waiting for those that are open. By definition, entering a section and
 * starting to wait depend on each other, for that decides who is waited for; leaving a section
 * depends on nothing, but waiting ends after it if the section was entered before it began.
 */
import {
  srcuReadLock,
  srcuReadUnlock,
  srcuStruct,
  synchronizeSrcu,
  type SrcuStruct,
} from '../../../../src/kernel/srcu.ts';
import { Misuse, stepsOf, type FuzzOperation, type Kind, type Request } from './kind.ts';

interface Section {
  readonly task: number;
  /** The step that left it, or null. */
  readonly leftAt: number | null;
}

/** Sections in the order in which they were entered, and for each task how many it waits for. */
interface Srcu {
  readonly sections: readonly Section[];
  readonly waiting: readonly number[];
}

const ENTER = 1;

function srcuOf({ state, key }: Request): SrcuStruct {
  return state[key] as SrcuStruct;
}

const READ_UNLOCK: FuzzOperation = {
  name: 'srcu_read_unlock',
  steps: stepsOf<Srcu>({
    take({ value, task, now }) {
      const last = value.sections.findLastIndex(
        (section) => section.task === task && section.leftAt === null,
      );
      if (last < 0) throw new Misuse('srcu_read_unlock outside a section');
      const sections = value.sections.with(last, { task, leftAt: now });
      return { value: { ...value, sections } };
    },
  }),
  run: (request) => srcuReadUnlock(srcuOf(request), request.kept.pop() ?? -1),
};

const SYNCHRONIZE: FuzzOperation = {
  name: 'synchronize_srcu',
  steps: stepsOf<Srcu>(
    {
      maySleep: true,
      take({ value, task }) {
        const waiting = [...value.waiting];
        waiting[task] = value.sections.length;
        return { reads: ENTER, value: { ...value, waiting } };
      },
    },
    {
      maySleep: true,
      take({ value, task }) {
        let after = 0;
        for (const { leftAt } of value.sections.slice(0, value.waiting[task])) {
          if (leftAt === null) return null;
          after |= 1 << leftAt;
        }
        return { after };
      },
    },
  ),
  run: (request) => synchronizeSrcu(srcuOf(request)),
};

export const SRCU: Kind = {
  prefix: 'r',
  // A value that is no number: only the steps above and `show` look into it.
  initial: { sections: [], waiting: [] } satisfies Srcu as unknown as number,
  show(value) {
    const { sections } = value as unknown as Srcu;
    return sections.filter((section) => section.leftAt === null).length;
  },
  holds(value, task) {
    const { sections } = value as unknown as Srcu;
    return sections.filter((section) => section.task === task && section.leftAt === null).length;
  },
  field: srcuStruct,
  valueOf: (state, key) => (state[key] as SrcuStruct).domain.openSections.length,
  operations: [SYNCHRONIZE],
  acquisitions: [
    {
      operation: {
        name: 'srcu_read_lock',
        steps: stepsOf<Srcu>({
          take({ value, task }) {
            const sections = [...value.sections, { task, leftAt: null }];
            return { commutes: ENTER, value: { ...value, sections } };
          },
        }),
        run: (request) => srcuReadLock(srcuOf(request)),
        isKept: true,
      },
      takenWhen: null,
      releases: [[READ_UNLOCK]],
    },
  ],
};

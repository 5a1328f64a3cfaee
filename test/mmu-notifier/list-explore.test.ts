import { test } from 'vitest';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { programOf } from '../../src/check/scenario.ts';
import { fn } from '../../src/kernel/call.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { mmgrab, type MmStruct } from '../../src/mm-types/mm-struct.ts';
import { setNotifierBehaviour, type NotifierBehaviour } from '../../src/mmu-notifier/behaviour.ts';
import { mmuNotifierPut } from '../../src/mmu-notifier/get-put.ts';
import { MmuNotifier, type MmuNotifierOps } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';
import { mmuNotifierRelease } from '../../src/mmu-notifier/release.ts';
import { mmuNotifierTestYoung } from '../../src/mmu-notifier/young.ts';
import { expectTraces } from '../util/exact.ts';

interface Listed {
  readonly mm: MmStruct;
  readonly mn: MmuNotifier;
}

const OPS: MmuNotifierOps = {
  freeNotifier: fn(function* freeNothing(_mn: MmuNotifier) {
    // It is there for ever.
  }),
};

type ListTask = (state: Listed) => Body<unknown>;

/** A registered notifier without callbacks, and tasks that do something to the list. */
function program(
  bodies: readonly ListTask[],
  users = 1,
  switches: Partial<NotifierBehaviour> = {},
) {
  const scenario = defineScenario<Listed>({
    name: 'list',
    variants: { only: {} },
    setup: (machine) => {
      setNotifierBehaviour(machine, switches);
      const mm = machine.process().mm!;
      const mn = allocateStatic(machine, MmuNotifier);
      mn.ops = OPS;
      machine.runNow(mmuNotifierRegister(mn, mm));
      machine.runNow(mmgrab(mm));
      mn.users = users;
      return { mm, mn };
    },
    tasks: Object.fromEntries(bodies.map((run, at) => [`task${at}`, { run }])),
  });
  return programOf(scenario, 'only');
}

function* walk({ mm }: Listed): Body<void> {
  yield* mmuNotifierTestYoung(mm, 0);
}

function* put({ mn }: Listed): Body<void> {
  yield* mmuNotifierPut(mn);
}

function* unregister({ mn, mm }: Listed): Body<void> {
  yield* mmuNotifierUnregister(mn, mm);
}

function* release({ mm }: Listed): Body<void> {
  yield* mmuNotifierRelease(mm);
}

type Programs = Readonly<Record<string, readonly [number, ...Parameters<typeof program>]>>;

/** With the number of their traces. */
const PROGRAMS: Programs = {
  'the last put beside a walk': [3, [put, walk]],
  'two puts': [2, [put, put], 2],
  'two puts, one too many': [2, [put, put], 1],
  'unregister beside a walk': [3, [unregister, walk]],
  'release of exit beside a walk': [3, [release, walk]],
  'release of v5.5 beside a walk': [3, [release, walk], 1, { skipsEmptyList: true }],
};

for (const [name, [count, ...parts]] of Object.entries(PROGRAMS)) {
  test(`each trace of ${name} is executed once`, () => {
    expectTraces(program(...parts), count);
  });
}

/** Writes down in which order an operation of the mm takes locks, tells notifiers, changes entries and flushes. */
import { fn } from '../../src/kernel/call.ts';
import { NO_FAULTS } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { setRunning } from '../../src/kernel/running.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import type { Tracer } from '../../src/kernel/watch.ts';
import type { MmStruct } from '../../src/mm-types/mm-struct.ts';
import type { Behaviour } from '../../src/mm/behaviour.ts';
import { bootMachine } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';
import { MmuNotifier, type MmuNotifierRange } from '../../src/mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister } from '../../src/mmu-notifier/register.ts';

/** What counts of a step, and its short name; the rest is left out. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/^down_write\w*\(&mm_struct\.mmap_sem/, 'mmap_sem:W'],
  [/^down_read\w*\(&mm_struct\.mmap_sem/, 'mmap_sem:R'],
  [/^downgrade_write\(&mm_struct\.mmap_sem/, 'mmap_sem:W>R'],
  [/^up_\w+\(&mm_struct\.mmap_sem/, '/mmap_sem'],
  [/^down_write\w*\(&address_space\.i_mmap_rwsem/, 'i_mmap:W'],
  [/^down_read\w*\(&address_space\.i_mmap_rwsem/, 'i_mmap:R'],
  [/^up_\w+\(&address_space\.i_mmap_rwsem/, '/i_mmap'],
  [/^down_write\w*\(&anon_vma\.rwsem/, 'anon_vma:W'],
  [/^down_read\w*\(&anon_vma\.rwsem/, 'anon_vma:R'],
  [/^up_\w+\(&anon_vma\.rwsem/, '/anon_vma'],
  [/^spin_lock\w*\(&pte_t lock/, 'ptl'],
  [/^spin_unlock\(&pte_t lock/, '/ptl'],
  [/^spin_lock\w*\(&mm_struct\.page_table_lock/, 'pmd_lock'],
  [/^spin_unlock\(&mm_struct\.page_table_lock/, '/pmd_lock'],
  [/^mutex_(?:try)?lock\w*\(&page\.lock/, 'page'],
  [/^mutex_unlock\(&page\.lock/, '/page'],
  [/^ptep_get_and_clear/, 'clear'],
  [/^set_pte_at/, 'set'],
  [/^flush_tlb/, 'flush'],
  [/^pmd_(?:clear|populate)/, 'pmd'],
  [/^pte_free/, 'free-table'],
  [/^__free_page/, 'free-page'],
  [/^alloc_pages/, 'alloc'],
];

function callbacks(log: string[]): MmuNotifier['ops'] {
  return {
    invalidateRangeStart: fn(function* start(_mn: MmuNotifier, range: MmuNotifierRange) {
      log.push(`start(${range.event.replace('MMU_NOTIFY_', '')})`);
      return 0;
    }),
    invalidateRangeEnd: fn(function* end() {
      log.push('end');
    }),
    invalidateRange: fn(function* hardware() {
      log.push('hardware');
    }),
    changePte: fn(function* change() {
      log.push('change_pte');
    }),
    clearFlushYoung: fn(function* young() {
      log.push('young');
      return false;
    }),
    testYoung: fn(function* look() {
      log.push('test_young');
      return false;
    }),
  };
}

export interface Place {
  readonly process: Process;
  readonly mm: MmStruct;
}

/**
 * The words of what `act` does after `prepare`, in order, equal neighbours once. The process has a notifier with all
 * callbacks.
 */
export function orderOf(
  behaviour: Partial<Behaviour>,
  prepare: (place: Place) => Body<unknown>,
  act: (place: Place) => Body<unknown>,
): string {
  const log: string[] = [];
  const tracer: Tracer = {
    onMade() {},
    onStep(_task, _operation, description) {
      const word = WORDS.find(([pattern]) => pattern.test(description));
      if (word !== undefined) log.push(word[1]);
    },
    onResult() {},
    onCall() {},
    onReturn() {},
    onNote() {},
  };
  const machine = bootMachine({ budget: NO_FAULTS, tracer, behaviour });
  const before = setRunning(machine);
  const process = machine.process();
  const place: Place = { process, mm: process.mm! };
  const mn = allocateStatic(machine, MmuNotifier);
  mn.ops = callbacks(log)!;
  machine.runNow(mmuNotifierRegister(mn, place.mm));
  machine.spawn('task', 'thread', null, function* task() {
    yield* prepare(place);
    log.length = 0;
    yield* act(place);
  });
  for (;;) {
    const task = machine.tasks.find((candidate) => machine.isEnabled(candidate));
    if (task === undefined) break;
    machine.step(task, 0);
  }
  setRunning(before);
  return log.filter((word, at) => word !== log[at - 1]).join(' ');
}

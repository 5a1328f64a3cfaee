/** K18: a range in which there is nothing, of which a driver is told all the same. */
import { MAP_FIXED, MAP_SHARED, MREMAP_MAYMOVE } from '../../base/mman.ts';
import { Subscriber, subscriberOps } from '../../drivers/subscriber/index.ts';
import { warnOn } from '../../kernel/assertion.ts';
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import { setBehaviour } from '../../mm/behaviour.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import type { Process } from '../../mm/process.ts';
import type {
  MmuNotifier,
  MmuNotifierOps,
  MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { defineScenario } from '../define-scenario.ts';
import { ADDRESS } from './subject.ts';

/** As KVM, which asserts what it relies on. */
const assertingOps: MmuNotifierOps = {
  ...subscriberOps,
  invalidateRangeStart: fn(
    function* assertingStart(mn: MmuNotifier, range: MmuNotifierRange) {
      warnOn(range.start >= range.end, 'range->start >= range->end');
      return yield* subscriberOps.invalidateRangeStart!(mn, range);
    },
    { name: 'subscriber_invalidate_range_start' },
  ),
};

interface State {
  readonly process: Process;
  readonly mm: MmStruct;
  readonly mine: Subscriber;
}

export const emptyRange = defineScenario<State>({
  name: 'empty-range',
  models: ['K18'],
  about: 'mremap of length 0 maps a shared page a second time, while another thread unmaps it',
  variants: {
    'v5.17': {
      about: 'it moves nothing, and says so',
      expect: { verdict: 'violation', kind: 'warn', object: 'range->start >= range->end' },
    },
    'fixed-v5.18': {
      about: '01e67e04c281: what moves nothing is no invalidation',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine, variant) {
    setBehaviour(machine, { emptyMoveNotifies: variant === 'v5.17' });
    const process = machine.process();
    const mm = process.mm!;
    const fd = machine.runNow(process.memfdCreate('f'));
    machine.runNow(process.ftruncate(fd, PAGE_SIZE));
    machine.runNow(process.mmap(ADDRESS, PAGE_SIZE, { flags: MAP_SHARED | MAP_FIXED, fd }));
    const mine = allocateStatic(machine, Subscriber);
    mine.mn.ops = assertingOps;
    machine.runNow(mmuNotifierRegister(mine.mn, mm));
    return { process, mm, mine };
  },
  tasks: {
    mremap: {
      *run({ process }) {
        const flags = MREMAP_MAYMOVE;
        if ((yield* process.mremap(ADDRESS, 0, PAGE_SIZE, { flags })) > 0) goal('mapped twice');
      },
    },
    munmap: {
      *run({ process }) {
        yield* process.munmap(ADDRESS, PAGE_SIZE);
      },
    },
  },
  goals: ['mapped twice'],
  *finally({ mine, mm }) {
    yield* mmuNotifierUnregister(mine.mn, mm);
  },
});

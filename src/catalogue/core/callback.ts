/** What callbacks of drivers have done wrong: B-4 and K17. */
import { fn } from '../../kernel/call.ts';
import { goal } from '../../kernel/choose.ts';
import { readOnce, writeOnce } from '../../kernel/field.ts';
import { GFP_KERNEL, GFP_NOFS } from '../../kernel/gfp.ts';
import { mutex, mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { running } from '../../kernel/running.ts';
import { allocateStatic, kfree, kzalloc, staticObject } from '../../kernel/slab.ts';
import { spinLock, spinlock, spinUnlock } from '../../kernel/spinlock.ts';
import { containerOf, embed, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import type {
  MmuNotifier as Notifier,
  MmuNotifierOps,
  MmuNotifierRange,
} from '../../mmu-notifier/mmu-notifier.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister, mmuNotifierUnregister } from '../../mmu-notifier/register.ts';
import { defineScenario } from '../define-scenario.ts';
import { munmap, subject, unpin, type Subject } from './subject.ts';

// ---- B-4 -----------------------------------------------------------------------------------------

const Hmm = struct('hmm', { mn: embed(MmuNotifier), lock: spinlock(), active: 0 });
type Hmm = InstanceOf<typeof Hmm>;

/** What `mm->hmm` was: where callbacks found the driver's part, instead of by container_of. */
const MmHmm = struct('mm_struct', { hmm: ptr<Hmm>() });
const mmHmm = staticObject(MmHmm);

const hmmInvalidateRangeStart = fn(function* hmmInvalidateRangeStart(
  _mn: Notifier,
  _range: MmuNotifierRange,
) {
  const hmm = (yield* readOnce(mmHmm(running), 'hmm')) as Hmm;
  yield* spinLock(hmm.lock);
  hmm.active += 1;
  yield* spinUnlock(hmm.lock);
  return 0;
});

const hmmOps: MmuNotifierOps = { invalidateRangeStart: hmmInvalidateRangeStart };

interface HmmState extends Subject {
  readonly hmm: Hmm;
}

export const mirrorUnregister = defineScenario<HmmState>({
  name: 'mirror-unregister',
  models: ['B-4'],
  about: 'hmm_mirror_unregister clears mm->hmm, by which callbacks find the mirror',
  variants: {
    'v4.16': {
      about: 'before the notifier is unregistered',
      expect: { verdict: 'violation', kind: 'null-dereference', object: 'NULL' },
    },
    fixed: { about: 'after no callback runs any more', expect: { verdict: 'clean' } },
  },
  setup(machine) {
    const made = subject(machine, 0);
    const hmm = allocateStatic(machine, Hmm);
    hmm.mn.ops = hmmOps;
    mmHmm(machine).hmm = hmm;
    machine.runNow(mmuNotifierRegister(hmm.mn, made.mm));
    return { ...made, hmm };
  },
  tasks: {
    unregister: {
      *run({ hmm, mm }, variant) {
        if (variant === 'v4.16') yield* writeOnce(mmHmm(running), 'hmm', null);
        yield* mmuNotifierUnregister(hmm.mn, mm);
        if (variant !== 'v4.16') yield* writeOnce(mmHmm(running), 'hmm', null);
      },
    },
    munmap,
  },
  goals: [{ name: 'the mirror was called', calls: 'hmm_invalidate_range_start' }],
  finally: unpin,
});

// ---- K17 -----------------------------------------------------------------------------------------

const Gadget = struct('gadget', { mn: embed(MmuNotifier), lock: mutex(), count: 0 });
type Gadget = InstanceOf<typeof Gadget>;
const Request = struct('request', { size: 0 });

const gadgetOps: MmuNotifierOps = {
  invalidateRangeStart: fn(function* gadgetInvalidateRangeStart(
    mn: Notifier,
    _range: MmuNotifierRange,
  ) {
    const gadget = containerOf(mn, Gadget, 'mn');
    yield* mutexLock(gadget.lock);
    gadget.count += 1;
    yield* mutexUnlock(gadget.lock);
    return 0;
  }),
};

/** A request of a user: allocates with the lock held that callbacks take. */
const gadgetIoctl = fn(function* gadgetIoctl(gadget: Gadget, variant: string) {
  yield* mutexLock(gadget.lock);
  const request = yield* kzalloc(Request, variant === 'gfp-kernel' ? GFP_KERNEL : GFP_NOFS);
  goal('allocated with the lock held');
  yield* kfree(request);
  yield* mutexUnlock(gadget.lock);
});

interface GadgetState extends Subject {
  readonly gadget: Gadget;
}

export const lockAroundAllocation = defineScenario<GadgetState>({
  name: 'lock-around-allocation',
  models: ['K17'],
  about:
    'an ioctl allocates with the lock held that invalidate_range_start takes; nothing is reclaimed',
  variants: {
    'gfp-kernel': {
      about: 'the allocation may enter reclaim, which calls invalidate_range_start',
      expect: {
        verdict: 'violation',
        kind: 'lock-order',
        object: 'fs_reclaim, gadget.lock, mmu_notifier_invalidate_range_start',
      },
    },
    'gfp-nofs': {
      about: 'the allocation does not',
      expect: { verdict: 'clean' },
    },
  },
  setup(machine) {
    const made = subject(machine, 0);
    const gadget = allocateStatic(machine, Gadget);
    gadget.mn.ops = gadgetOps;
    machine.runNow(mmuNotifierRegister(gadget.mn, made.mm));
    return { ...made, gadget };
  },
  tasks: {
    ioctl: {
      *run({ gadget }, variant) {
        yield* gadgetIoctl(gadget, variant);
      },
    },
    munmap,
  },
  goals: ['allocated with the lock held'],
  *finally(state) {
    yield* mmuNotifierUnregister(state.gadget.mn, state.mm);
    yield* unpin(state);
  },
});

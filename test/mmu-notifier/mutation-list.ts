/** Safeguards of unregister, of exit, and of those who walk the list. */
import { edit, type Mutation } from './mutant.ts';

const REGISTER = 'mmu-notifier/register.ts';
const RELEASE = 'mmu-notifier/release.ts';
const INVALIDATE = 'mmu-notifier/invalidate.ts';

export const LIST_MUTATIONS: readonly Mutation[] = [
  {
    name: 'unregister does not wait for a grace period',
    edits: [edit(REGISTER, '} yield* synchronizeSrcu(notifierSrcu());', '}')],
    scenario: 'own-unregister-munmap',
    finds: { kind: 'invariant', object: 'shadow', invariant: 'I1' },
  },
  {
    name: 'unregister calls release outside of an SRCU section',
    edits: [
      edit(REGISTER, 'const index = yield* srcuReadLock(notifierSrcu());'),
      edit(REGISTER, 'yield* srcuReadUnlock(notifierSrcu(), index);'),
    ],
    scenario: 'unregister-exit',
    variant: 'fixed-d34883d4e35c',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I6' },
  },
  {
    name: 'unregister unlinks before it calls release',
    edits: [
      edit(
        REGISTER,
        '// Exit waits for this section before it frees pages, so release has returned by then. const index',
        'const early = mmuNotifierMmOf(mm) as MmuNotifierMm; yield* spinLock(early.lock); yield* hlistDelInitRcu(mn.hlist); yield* spinUnlock(early.lock); const index',
      ),
    ],
    scenario: 'unregister-exit',
    variant: 'fixed-d34883d4e35c',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I6' },
  },
  {
    name: 'unregister does not call release',
    edits: [edit(REGISTER, 'if (release !== undefined) yield* release(mn, mm);')],
    scenario: 'unregister-exit',
    variant: 'fixed-d34883d4e35c',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I6' },
  },
  {
    name: 'unregister looks whether it is on the list under no lock, and unlinks with hlist_del_rcu',
    edits: [
      edit(REGISTER, 'yield* hlistDelInitRcu(mn.hlist);', 'yield* hlistDelRcu(mn.hlist);'),
      edit(
        REGISTER,
        'hlistDelInitRcu, hlistUnhashedLockless',
        'hlistDelRcu, hlistUnhashedLockless',
      ),
    ],
    scenario: 'unregister-exit',
    variant: 'fixed-d34883d4e35c',
    finds: { kind: 'null-dereference', object: 'NULL' },
  },
  {
    name: 'exit does not wait for a grace period',
    edits: [edit(RELEASE, 'yield* synchronizeSrcu(notifierSrcu());')],
    scenario: 'unregister-exit',
    variant: 'fixed-d34883d4e35c',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I6' },
  },
  {
    name: 'exit is in no SRCU section while it calls release',
    edits: [
      edit(RELEASE, 'const index = yield* srcuReadLock(notifierSrcu());'),
      edit(RELEASE, 'yield* srcuReadUnlock(notifierSrcu(), index);'),
    ],
    scenario: 'put-exit',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I1' },
  },
  {
    name: 'exit does not call release',
    edits: [edit(RELEASE, 'if (release !== undefined) yield* release(mn, mm);')],
    scenario: 'put-exit',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I6' },
  },
  {
    name: 'exit calls release when the pages are gone',
    edits: [
      edit('mm/exit.ts', 'yield* mmuNotifierRelease(mm);'),
      edit(
        'mm/exit.ts',
        'yield* tlbFinishMmu(tlb);',
        'yield* tlbFinishMmu(tlb); yield* mmuNotifierRelease(mm);',
      ),
    ],
    scenario: 'put-exit',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I6' },
  },
  {
    name: 'exit leaves the notifiers on the list',
    edits: [edit(RELEASE, 'yield* hlistDelInitRcu(first);', 'break;')],
    scenario: 'own-silent-after-exit',
    finds: { kind: 'warn', object: 'a start after release' },
  },
  {
    name: 'the walk of a start is in no SRCU section',
    edits: [
      edit(
        INVALIDATE,
        'const index = yield* srcuReadLock(notifierSrcu()); let result = 0;',
        'let result = 0;',
      ),
      edit(
        INVALIDATE,
        'yield* srcuReadUnlock(notifierSrcu(), index); return result;',
        'return result;',
      ),
    ],
    scenario: 'get-put-munmap',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I1' },
  },
  {
    name: 'the walk of a start stops at the first',
    edits: [
      edit(
        INVALIDATE,
        'if (error !== 0) result = error; } node = yield* hlistNextRcu(node);',
        'if (error !== 0) result = error; } break;',
      ),
    ],
    scenario: 'own-two-notifiers',
    finds: { kind: 'invariant', object: 'shadow', invariant: 'I7' },
  },
  {
    name: 'a start that was refused is not paired with an end',
    edits: [edit(INVALIDATE, 'yield* mnHlistInvalidateEnd(notifiers, range, true);')],
    scenario: 'refused-start',
    variant: 'fixed-v5.12',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I7' },
  },
];

/** Safeguards of unregister, of exit, and of those who walk the list. */
import { breaks, edit, missing, seenBy, type Mutation } from './mutant.ts';

const REGISTER = 'mmu-notifier/register.ts';
const RELEASE = 'mmu-notifier/release.ts';
const INVALIDATE = 'mmu-notifier/invalidate.ts';

export const LIST_MUTATIONS: readonly Mutation[] = [
  ...seenBy('own-unregister-munmap', [
    missing(
      'unregister does not wait for a grace period',
      breaks('I1', 'shadow'),
      edit(REGISTER, '} yield* synchronizeSrcu(notifierSrcu());', '}'),
    ),
  ]),
  ...seenBy({ scenario: 'unregister-exit', variant: 'fixed-d34883d4e35c' }, [
    missing(
      'unregister calls release outside of an SRCU section',
      breaks('I6'),
      edit(REGISTER, 'const index = yield* srcuReadLock(notifierSrcu());'),
      edit(REGISTER, 'yield* srcuReadUnlock(notifierSrcu(), index);'),
    ),
    missing(
      'unregister unlinks before it calls release',
      breaks('I6'),
      edit(
        REGISTER,
        '// Exit waits for this section before it frees pages, so release has returned by then. const index',
        'const early = mmuNotifierMmOf(mm) as MmuNotifierMm; yield* spinLock(early.lock); yield* hlistDelInitRcu(mn.hlist); yield* spinUnlock(early.lock); const index',
      ),
    ),
    missing(
      'unregister does not call release',
      breaks('I6'),
      edit(REGISTER, 'if (release !== undefined) yield* release(mn, mm);'),
    ),
    missing(
      'unregister looks whether it is on the list under no lock, and unlinks with hlist_del_rcu',
      { kind: 'null-dereference', object: 'NULL' },
      edit(REGISTER, 'yield* hlistDelInitRcu(mn.hlist);', 'yield* hlistDelRcu(mn.hlist);'),
      edit(
        REGISTER,
        'hlistDelInitRcu, hlistUnhashedLockless',
        'hlistDelRcu, hlistUnhashedLockless',
      ),
    ),
    missing(
      'exit does not wait for a grace period',
      breaks('I6'),
      edit(RELEASE, 'yield* synchronizeSrcu(notifierSrcu());'),
    ),
  ]),
  ...seenBy('put-exit', [
    missing(
      'exit is in no SRCU section while it calls release',
      breaks('I1'),
      edit(RELEASE, 'const index = yield* srcuReadLock(notifierSrcu());'),
      edit(RELEASE, 'yield* srcuReadUnlock(notifierSrcu(), index);'),
    ),
    missing(
      'exit does not call release',
      breaks('I6'),
      edit(RELEASE, 'if (release !== undefined) yield* release(mn, mm);'),
    ),
    missing(
      'exit calls release when the pages are gone',
      breaks('I6'),
      edit('mm/exit.ts', 'yield* mmuNotifierRelease(mm);'),
      edit(
        'mm/exit.ts',
        'yield* tlbFinishMmu(tlb);',
        'yield* tlbFinishMmu(tlb); yield* mmuNotifierRelease(mm);',
      ),
    ),
  ]),
  ...seenBy('own-silent-after-exit', [
    missing(
      'exit leaves the notifiers on the list',
      { kind: 'warn', object: 'a start after release' },
      edit(RELEASE, 'yield* hlistDelInitRcu(first);', 'break;'),
    ),
  ]),
  ...seenBy('get-put-munmap', [
    missing(
      'the walk of a start is in no SRCU section',
      breaks('I1'),
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
    ),
  ]),
  ...seenBy('own-two-notifiers', [
    missing(
      'the walk of a start stops at the first',
      breaks('I7', 'shadow'),
      edit(
        INVALIDATE,
        'if (error !== 0) result = error; } node = yield* hlistNextRcu(node);',
        'if (error !== 0) result = error; } break;',
      ),
    ),
  ]),
  ...seenBy({ scenario: 'refused-start', variant: 'fixed-v5.12' }, [
    missing(
      'a start that was refused is not paired with an end',
      breaks('I7'),
      edit(INVALIDATE, 'yield* mnHlistInvalidateEnd(notifiers, range, true);'),
    ),
  ]),
  ...seenBy({ scenario: 'waiting-callback', variant: 'start-waits' }, [
    missing(
      'a start whose range must not block may sleep',
      null,
      edit(INVALIDATE, 'if (!isBlockable) nonBlockStart(task); const error', 'const error'),
      edit(INVALIDATE, 'if (!isBlockable) nonBlockEnd(task); if (error', 'if (error'),
    ),
  ]),
  ...seenBy({ scenario: 'waiting-callback', variant: 'end-waits' }, [
    missing(
      'an end whose range must not block may sleep',
      null,
      edit(
        INVALIDATE,
        'if (!isBlockable) nonBlockStart(task); yield* end(mn, range); if (!isBlockable) nonBlockEnd(task);',
        'yield* end(mn, range);',
      ),
    ),
  ]),
];

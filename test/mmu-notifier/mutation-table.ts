/**
 * What the core is mutated by: each entry takes one safeguard out, and names the scenario that misses it and
 * what is found there.
 */
import type { Violation } from '../../src/check/result.ts';
import type { Edit } from './mutant.ts';

export interface Mutation {
  /** What is missing, as the end of a sentence. */
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Of the catalogue, or `own-…` of mutation-scenario.ts. */
  readonly scenario: string;
  /** `series` if left out. It is as expected by itself. */
  readonly variant?: string;
  /** One of the violations; null if what was expected is not found any more. */
  readonly finds: Partial<Pick<Violation, 'kind' | 'object' | 'invariant'>> | null;
}

const GET_PUT = 'mmu-notifier/get-put.ts';
const REGISTER = 'mmu-notifier/register.ts';
const RELEASE = 'mmu-notifier/release.ts';
const INVALIDATE = 'mmu-notifier/invalidate.ts';
const INTERVAL = 'mmu-notifier/interval.ts';
const ITREE = 'mmu-notifier/interval-invalidate.ts';
const ALL_LOCKS = 'mm-types/mm-take-all-locks.ts';

const CALL_SRCU = 'yield* callSrcu(notifierSrcu(), mn.rcu, mmuNotifierFreeRcu);';
const UNLINK = 'yield* hlistDelInitRcu(mn.hlist);';
const DROP = '// Pairs with the mmgrab in register. yield* mmdrop(mm);';

/** `to` in the place of `from`; nothing, if it is left out. */
function edit(file: string, from: string, to = ''): Edit {
  return { file, from, to };
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'the last put frees without an SRCU grace period',
    edits: [edit(GET_PUT, CALL_SRCU, 'yield* mmuNotifierFreeRcu(mn.rcu);')],
    scenario: 'get-put-munmap',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I1' },
  },
  {
    name: 'the last put does not free',
    edits: [edit(GET_PUT, CALL_SRCU)],
    scenario: 'put-exit',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I2' },
  },
  {
    name: 'the last put does not unlink',
    edits: [edit(GET_PUT, UNLINK)],
    scenario: 'get-put-munmap',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I3' },
  },
  {
    name: 'the last put lets go first and unlinks then',
    edits: [edit(GET_PUT, UNLINK), edit(GET_PUT, CALL_SRCU, `${CALL_SRCU} ${UNLINK}`)],
    scenario: 'get-put-munmap',
    finds: { kind: 'data-race', object: 'mmu_notifier_mm.list.first' },
  },
  {
    name: 'the last put unlinks with hlist_del_rcu, which minds coming second',
    edits: [
      edit(GET_PUT, UNLINK, 'yield* hlistDelRcu(mn.hlist);'),
      edit(GET_PUT, 'import { hlistDelInitRcu,', 'import { hlistDelRcu,'),
    ],
    scenario: 'put-exit',
    finds: { kind: 'null-dereference', object: 'NULL' },
  },
  {
    name: 'put counts before it takes the lock',
    edits: [
      edit(
        GET_PUT,
        "yield* spinLock(notifiers.lock); const isOverPut = warnOn(mn.users === 0, '!mn->users'); if (!isOverPut) mn.users -= 1;",
        "const isOverPut = warnOn(mn.users === 0, '!mn->users'); if (!isOverPut) mn.users -= 1; yield* spinLock(notifiers.lock);",
      ),
    ],
    scenario: 'put-put',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I3' },
  },
  {
    name: 'put unlinks in another section than it counts in',
    edits: [
      edit(
        GET_PUT,
        UNLINK,
        `yield* spinUnlock(notifiers.lock); yield* spinLock(notifiers.lock); ${UNLINK}`,
      ),
    ],
    scenario: 'get-put',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I3' },
  },
  {
    name: 'a put too many counts below zero',
    edits: [edit(GET_PUT, 'if (!isOverPut) mn.users -= 1;', 'mn.users -= 1;')],
    scenario: 'over-put',
    variant: 'one-get',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I3' },
  },
  {
    name: 'nobody is warned of a put too many',
    edits: [edit(GET_PUT, "warnOn(mn.users === 0, '!mn->users')", 'mn.users === 0')],
    scenario: 'over-put',
    variant: 'one-get',
    finds: null,
  },
  {
    name: 'the pin on the mm is dropped before free_notifier',
    edits: [
      edit(
        GET_PUT,
        'yield* mn.ops!.freeNotifier!(mn);',
        'yield* mmdrop(mm); yield* mn.ops!.freeNotifier!(mn);',
      ),
      edit(GET_PUT, DROP),
    ],
    scenario: 'put-exit',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I2' },
  },
  {
    name: 'the pin on the mm is not dropped',
    edits: [edit(GET_PUT, DROP)],
    scenario: 'put-exit',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I2' },
  },
  {
    name: 'get looks for the notifier without the lock',
    edits: [
      edit(GET_PUT, 'yield* spinLock(notifiers.lock); let found', 'let found'),
      edit(GET_PUT, 'yield* spinUnlock(notifiers.lock); return found;', 'return found;'),
    ],
    scenario: 'get-put',
    finds: { kind: 'data-race', object: 'mmu_notifier_mm.list.first' },
  },
  {
    name: 'get lets users wrap',
    edits: [edit(GET_PUT, 'mn.users === MMU_NOTIFIER_USERS_MAX', 'false')],
    scenario: 'users-maximum',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I3' },
  },
  {
    name: 'get does not take the notifier that is there',
    edits: [edit(GET_PUT, 'if (found !== null) return found;')],
    scenario: 'get-put',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I4' },
  },
  {
    name: 'get takes a notifier without counting',
    edits: [edit(GET_PUT, 'mn.users += 1;')],
    scenario: 'get-put',
    finds: { kind: 'warn', object: '!mn->users', invariant: 'I3' },
  },
  {
    name: 'get does not free what it could not register',
    edits: [edit(GET_PUT, 'yield* ops.freeNotifier!(mn);')],
    scenario: 'register-interrupted',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I2' },
  },
  {
    name: 'get drops a pin for what it could not register',
    edits: [
      edit(
        GET_PUT,
        'yield* ops.freeNotifier!(mn);',
        'yield* ops.freeNotifier!(mn); yield* mmdrop(mm);',
      ),
    ],
    scenario: 'register-interrupted',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I2' },
  },
  {
    name: 'the locked form does not look whether mmap_sem is held',
    edits: [edit(REGISTER, 'lockdepAssertHeldWrite(mm.mmapSem);')],
    scenario: 'locked-register',
    variant: 'series-unlocked',
    finds: null,
  },
  {
    name: 'registration takes no pin on the mm',
    edits: [edit(REGISTER, 'yield* mmgrab(mm);')],
    scenario: 'put-exit',
    finds: { kind: 'use-after-free', object: 'mm_struct' },
  },
  {
    name: 'registration forgets that there is a user',
    edits: [edit(REGISTER, 'mn.users = 1;')],
    scenario: 'put-exit',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I3' },
  },
  {
    name: 'registration takes no locks but mmap_sem',
    edits: [
      edit(REGISTER, 'if ((yield* mmTakeAllLocks(mm)) !== 0)', 'if (false)'),
      edit(REGISTER, 'yield* mmDropAllLocks(mm);'),
    ],
    scenario: 'own-register-truncate',
    finds: { kind: 'invariant', object: 'shadow', invariant: 'I7' },
  },
  {
    name: 'registration forgets the locks of files',
    edits: [
      edit(
        ALL_LOCKS,
        'if (mapping === null || mapping.isTaken) continue;',
        'if (mapping !== null || true) continue;',
      ),
    ],
    scenario: 'own-register-truncate',
    finds: { kind: 'invariant', object: 'shadow', invariant: 'I7' },
  },
  {
    name: 'registration keeps what it allocated when a signal comes',
    edits: [edit(REGISTER, 'yield* kfree(fresh);')],
    scenario: 'register-interrupted',
    finds: { kind: 'leak', object: 'mmu_notifier_mm' },
  },
  {
    name: 'registration allocates with all locks taken',
    edits: [
      edit(
        REGISTER,
        'if (mmuNotifierMmOf(mm) === null) { fresh = yield* kzalloc(MmuNotifierMm, GFP_KERNEL); if (fresh === null) return -ENOMEM; }',
      ),
      edit(
        REGISTER,
        '// Holders of any of the locks',
        'if (mmuNotifierMmOf(mm) === null) fresh = yield* kzalloc(MmuNotifierMm, GFP_KERNEL); // Holders of any of the locks',
      ),
    ],
    scenario: 'own-register-reclaim',
    finds: { kind: 'lock-order', object: 'address_space.i_mmap_rwsem, fs_reclaim' },
  },
  {
    name: 'registration does not ask whether the mm has users',
    edits: [
      edit(
        REGISTER,
        "bugOn((yield* atomicRead(mm.mmUsers)) <= 0, 'atomic_read(&mm->mm_users) <= 0'); if (mn",
        'if (mn',
      ),
      edit(
        REGISTER,
        "yield* mmDropAllLocks(mm); bugOn((yield* atomicRead(mm.mmUsers)) <= 0, 'atomic_read(&mm->mm_users) <= 0');",
        'yield* mmDropAllLocks(mm);',
      ),
    ],
    scenario: 'get-after-exit',
    variant: 'unpinned',
    finds: { kind: 'invariant', object: 'subscriber', invariant: 'I5' },
  },
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
    scenario: 'own-unregister-exit',
    finds: { kind: 'invariant', object: 'shadow', invariant: 'I6' },
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
    scenario: 'own-unregister-exit',
    finds: { kind: 'invariant', object: 'shadow', invariant: 'I6' },
  },
  {
    name: 'unregister does not call release',
    edits: [edit(REGISTER, 'if (release !== undefined) yield* release(mn, mm);')],
    scenario: 'own-unregister-exit',
    finds: { kind: 'invariant', object: 'shadow', invariant: 'I6' },
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
    scenario: 'own-unregister-exit',
    finds: { kind: 'null-dereference', object: 'NULL' },
  },
  {
    name: 'exit does not wait for a grace period',
    edits: [edit(RELEASE, 'yield* synchronizeSrcu(notifierSrcu());')],
    scenario: 'own-unregister-exit',
    finds: { kind: 'invariant', object: 'shadow', invariant: 'I6' },
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
    name: 'the removal of an interval notifier does not wait',
    edits: [edit(INTERVAL, 'yield* waitEvent(notifiers.wq, isReleased);')],
    scenario: 'own-interval-remove',
    finds: { kind: 'invariant', object: 'mirror', invariant: 'I1' },
  },
  {
    name: 'the removal of an interval notifier looks without the lock',
    edits: [edit(INTERVAL, '() => released(notifiers, odd)', '() => hasGoneOn(notifiers, odd)')],
    scenario: 'own-interval-remove',
    finds: { kind: 'invariant', object: 'mirror', invariant: 'I1' },
  },
  {
    name: 'the removal of an interval notifier changes the tree at once',
    edits: [
      edit(INTERVAL, 'if (!mnItreeIsInvalidating(notifiers)) { warnOn', 'if (true) { warnOn'),
    ],
    scenario: 'own-interval-remove',
    finds: { kind: 'invariant', object: 'mirror', invariant: 'I1' },
  },
  {
    name: 'the insertion of an interval notifier changes the tree at once',
    edits: [
      edit(
        INTERVAL,
        'if (mnItreeIsInvalidating(notifiers)) { hlistAddHead',
        'if (false) { hlistAddHead',
      ),
    ],
    scenario: 'own-interval-insert',
    finds: { kind: 'invariant', object: 'mmu_notifier_mm', invariant: 'I10' },
  },
  {
    name: 'the insertion of an interval notifier takes no pin on the mm',
    edits: [edit(INTERVAL, 'yield* mmgrab(mm);')],
    scenario: 'own-interval-remove',
    finds: { kind: 'leak', object: 'vm_area_struct' },
  },
  {
    name: 'an interval notifier starts with the sequence of the mm at rest',
    edits: [edit(INTERVAL, 'isActive ? seq : ulongSub(seq, 1)', 'seq')],
    scenario: 'own-interval-read-alone',
    finds: { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
  },
  {
    name: 'a reader does not wait for the invalidation that it is in',
    edits: [
      edit(
        INTERVAL,
        'if (isInvalidating) yield* waitEvent(notifiers.wq, () => hasGoneOn(notifiers, seq));',
      ),
    ],
    scenario: 'own-interval-read',
    finds: { kind: 'warn', object: 'the mirror has a page that is gone' },
  },
  {
    name: 'a start does not make the sequence odd',
    edits: [
      edit(ITREE, "yield* writeOnce(notifiers, 'invalidateSeq', notifiers.invalidateSeq + 1);"),
    ],
    scenario: 'own-interval-read',
    finds: { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
  },
  {
    name: 'the last end does not make the sequence even',
    edits: [
      edit(
        ITREE,
        "yield* writeOnce(notifiers, 'invalidateSeq', ulongAdd(notifiers.invalidateSeq, 1));",
      ),
    ],
    scenario: 'own-interval-remove',
    finds: { kind: 'invariant', object: 'mmu_notifier_mm', invariant: 'I10' },
  },
  {
    name: 'the last end leaves what was put off',
    edits: [edit(ITREE, 'workOffDeferred(notifiers); yield* spinUnlock', 'yield* spinUnlock')],
    scenario: 'own-interval-remove',
    finds: { kind: 'invariant', object: 'mmu_notifier_mm', invariant: 'I10' },
  },
  {
    name: 'the last end wakes nobody',
    edits: [edit(ITREE, 'yield* wakeUpAll(notifiers.wq);')],
    scenario: 'own-interval-remove',
    finds: { kind: 'deadlock', object: 'schedule', invariant: 'I10' },
  },
  {
    name: 'every end works as the last',
    edits: [
      edit(ITREE, 'const isLast = notifiers.activeInvalidateRanges === 0;', 'const isLast = true;'),
    ],
    scenario: 'own-interval-two-ranges',
    finds: { kind: 'invariant', object: 'mmu_notifier_mm', invariant: 'I10' },
  },
];

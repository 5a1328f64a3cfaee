/** Safeguards of get, put and registration. */
import { breaks, edit, missing, seenBy, type Mutation } from './mutant.ts';

const GET_PUT = 'mmu-notifier/get-put.ts';
const REGISTER = 'mmu-notifier/register.ts';
const ALL_LOCKS = 'mm-types/mm-take-all-locks.ts';
const CALL_SRCU = 'yield* callSrcu(notifierSrcu(), mn.rcu, mmuNotifierFreeRcu);';
const UNLINK = 'yield* hlistDelInitRcu(mn.hlist);';
const DROP = '// Pairs with the mmgrab in register. yield* mmdrop(mm);';

export const GET_PUT_MUTATIONS: readonly Mutation[] = [
  ...seenBy('get-put-munmap', [
    missing(
      'the last put frees without an SRCU grace period',
      breaks('I1'),
      edit(GET_PUT, CALL_SRCU, 'yield* mmuNotifierFreeRcu(mn.rcu);'),
    ),
    missing('the last put does not unlink', breaks('I3'), edit(GET_PUT, UNLINK)),
    missing(
      'the last put lets go first and unlinks then',
      { kind: 'data-race', object: 'mmu_notifier_mm.list.first' },
      edit(GET_PUT, UNLINK),
      edit(GET_PUT, CALL_SRCU, `${CALL_SRCU} ${UNLINK}`),
    ),
  ]),
  ...seenBy('put-exit', [
    missing('the last put does not free', breaks('I2'), edit(GET_PUT, CALL_SRCU)),
    missing(
      'the last put unlinks with hlist_del_rcu, which minds coming second',
      { kind: 'null-dereference', object: 'NULL' },
      edit(GET_PUT, UNLINK, 'yield* hlistDelRcu(mn.hlist);'),
      edit(GET_PUT, 'import { hlistDelInitRcu,', 'import { hlistDelRcu,'),
    ),
    missing(
      'the pin on the mm is dropped before free_notifier',
      breaks('I2'),
      edit(
        GET_PUT,
        'yield* mn.ops!.freeNotifier!(mn);',
        'yield* mmdrop(mm); yield* mn.ops!.freeNotifier!(mn);',
      ),
      edit(GET_PUT, DROP),
    ),
    missing('the pin on the mm is not dropped', breaks('I2'), edit(GET_PUT, DROP)),
    missing(
      'registration takes no pin on the mm',
      { kind: 'use-after-free', object: 'mm_struct' },
      edit(REGISTER, 'yield* mmgrab(mm);'),
    ),
    missing(
      'registration forgets that there is a user',
      breaks('I3'),
      edit(REGISTER, 'mn.users = 1;'),
    ),
  ]),
  ...seenBy('put-put', [
    missing(
      'put counts before it takes the lock',
      breaks('I3'),
      edit(
        GET_PUT,
        "yield* spinLock(notifiers.lock); const isOverPut = warnOn(mn.users === 0, '!mn->users'); if (!isOverPut) mn.users -= 1;",
        "const isOverPut = warnOn(mn.users === 0, '!mn->users'); if (!isOverPut) mn.users -= 1; yield* spinLock(notifiers.lock);",
      ),
    ),
  ]),
  ...seenBy('get-put', [
    missing(
      'put unlinks in another section than it counts in',
      breaks('I3'),
      edit(
        GET_PUT,
        UNLINK,
        `yield* spinUnlock(notifiers.lock); yield* spinLock(notifiers.lock); ${UNLINK}`,
      ),
    ),
    missing(
      'get looks for the notifier without the lock',
      { kind: 'data-race', object: 'mmu_notifier_mm.list.first' },
      edit(GET_PUT, 'yield* spinLock(notifiers.lock); let found', 'let found'),
      edit(GET_PUT, 'yield* spinUnlock(notifiers.lock); return found;', 'return found;'),
    ),
    missing(
      'get does not take the notifier that is there',
      breaks('I4'),
      edit(GET_PUT, 'if (found !== null) return found;'),
    ),
    missing(
      'get takes a notifier without counting',
      { kind: 'warn', object: '!mn->users', invariant: 'I3' },
      edit(GET_PUT, 'mn.users += 1;'),
    ),
  ]),
  ...seenBy({ scenario: 'over-put', variant: 'one-get' }, [
    missing(
      'a put too many counts below zero',
      breaks('I3'),
      edit(GET_PUT, 'if (!isOverPut) mn.users -= 1;', 'mn.users -= 1;'),
    ),
    missing(
      'nobody is warned of a put too many',
      null,
      edit(GET_PUT, "warnOn(mn.users === 0, '!mn->users')", 'mn.users === 0'),
    ),
  ]),
  ...seenBy('users-maximum', [
    missing(
      'get lets users wrap',
      breaks('I3'),
      edit(GET_PUT, 'mn.users === MMU_NOTIFIER_USERS_MAX', 'false'),
    ),
  ]),
  ...seenBy('register-interrupted', [
    missing(
      'get does not free what it could not register',
      breaks('I2'),
      edit(GET_PUT, 'yield* ops.freeNotifier!(mn);'),
    ),
    missing(
      'get drops a pin for what it could not register',
      breaks('I2'),
      edit(
        GET_PUT,
        'yield* ops.freeNotifier!(mn);',
        'yield* ops.freeNotifier!(mn); yield* mmdrop(mm);',
      ),
    ),
    missing(
      'registration keeps what it allocated when a signal comes',
      { kind: 'leak', object: 'mmu_notifier_mm' },
      edit(REGISTER, 'yield* kfree(fresh);'),
    ),
  ]),
  ...seenBy({ scenario: 'locked-register', variant: 'series-unlocked' }, [
    missing(
      'the locked form does not look whether mmap_sem is held',
      null,
      edit(REGISTER, 'lockdepAssertHeldWrite(mm.mmapSem);'),
    ),
  ]),
  ...seenBy('own-register-truncate', [
    missing(
      'registration takes no locks but mmap_sem',
      breaks('I7', 'shadow'),
      edit(REGISTER, 'if ((yield* mmTakeAllLocks(mm)) !== 0)', 'if (false)'),
      edit(REGISTER, 'yield* mmDropAllLocks(mm);'),
    ),
    missing(
      'registration forgets the locks of files',
      breaks('I7', 'shadow'),
      edit(
        ALL_LOCKS,
        'if (mapping === null || mapping.isTaken) continue;',
        'if (mapping !== null || true) continue;',
      ),
    ),
  ]),
  ...seenBy('allocation-under-locks', [
    missing(
      'registration allocates with all locks taken',
      { kind: 'lock-order' },
      edit(
        REGISTER,
        'if (mmuNotifierMmOf(mm) === null) { fresh = yield* kzalloc(MmuNotifierMm, GFP_KERNEL); if (fresh === null) return -ENOMEM; }',
      ),
      edit(
        REGISTER,
        '// Holders of any of the locks',
        'if (mmuNotifierMmOf(mm) === null) fresh = yield* kzalloc(MmuNotifierMm, GFP_KERNEL); // Holders of any of the locks',
      ),
    ),
  ]),
  ...seenBy({ scenario: 'get-after-exit', variant: 'unpinned' }, [
    missing(
      'registration does not ask whether the mm has users',
      breaks('I5'),
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
    ),
  ]),
];

/** Safeguards of get, put and registration. */
import { edit, type Mutation } from './mutant.ts';

const GET_PUT = 'mmu-notifier/get-put.ts';
const REGISTER = 'mmu-notifier/register.ts';
const ALL_LOCKS = 'mm-types/mm-take-all-locks.ts';
const CALL_SRCU = 'yield* callSrcu(notifierSrcu(), mn.rcu, mmuNotifierFreeRcu);';
const UNLINK = 'yield* hlistDelInitRcu(mn.hlist);';
const DROP = '// Pairs with the mmgrab in register. yield* mmdrop(mm);';

export const GET_PUT_MUTATIONS: readonly Mutation[] = [
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
    scenario: 'allocation-under-locks',
    finds: { kind: 'lock-order' },
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
];

/**
 * struct task_struct, as far as drivers hold on to it: the identity of a thread, which outlives the
 * thread as long as somebody has a reference.
 */
import { fn } from '../kernel/call.ts';
import { refcount, refcountDecAndTest, refcountInc } from '../kernel/refcount.ts';
import { running } from '../kernel/running.ts';
import { kfree } from '../kernel/slab.ts';
import { spinLock, spinlock, spinUnlock } from '../kernel/spinlock.ts';
import { field, ptr, struct, type InstanceOf, type StructObject } from '../kernel/struct.ts';
import { mmget, type MmStruct } from './mm-struct.ts';

/** struct task_struct, as far as drivers hold on to it. Pinned by `getTaskStruct`. */
export const TaskStruct = struct('task_struct', {
  /** One for the thread itself until it was reaped, one for each get_task_struct. */
  usage: refcount(1),
  /** Protects `mm`. */
  allocLock: spinlock(),
  /** NULL once the thread has left its address space. */
  mm: ptr<MmStruct>(),
  /** The first thread of the process; itself for that one. */
  groupLeader: ptr<StructObject>(),
  pid: 0,
  /** A 32-bit program on a 64-bit kernel (`in_compat_syscall`). */
  is32bit: field(false),
});
export type TaskStruct = InstanceOf<typeof TaskStruct>;

/** The kernel's `current`: the thread on whose behalf the task runs, or NULL in a kernel thread. */
export function currentThread(): TaskStruct | null {
  return running.currentTask.process as TaskStruct | null;
}

/** `thread->group_leader`. */
export function groupLeaderOf(thread: TaskStruct): TaskStruct {
  return thread.groupLeader as TaskStruct;
}

/** `get_task_struct(thread)`. Pairs with {@link putTaskStruct}. */
export const getTaskStruct = fn(function* getTaskStruct(thread: TaskStruct) {
  yield* refcountInc(thread.usage);
});

/** `put_task_struct(thread)`: the last one frees it. */
export const putTaskStruct = fn(function* putTaskStruct(thread: TaskStruct) {
  if (yield* refcountDecAndTest(thread.usage)) yield* kfree(thread);
});

/**
 * `get_task_mm(thread)`: the thread's address space with one more user, or NULL once it has left it.
 * Pairs with `mmput`. The caller holds a reference to the thread.
 */
export const getTaskMm = fn(function* getTaskMm(thread: TaskStruct) {
  yield* spinLock(thread.allocLock);
  const { mm } = thread;
  if (mm !== null) yield* mmget(mm);
  yield* spinUnlock(thread.allocLock);
  return mm;
});

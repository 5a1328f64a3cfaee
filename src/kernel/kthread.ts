/**
 * Kernel threads: kthread_run, kthread_stop, kthread_should_stop.
 *
 *     kthread                                        kthread_stop()
 *     for (;;) {
 *       set_current_state(TASK_INTERRUPTIBLE)
 *       if (kthread_should_stop()) break             should_stop = true
 *       schedule()                                   wake_up_process()
 *     }
 *     return                                         waits for the return
 *
 * Modelled: kthread_stop wakes the thread and waits for its function; a thread that is stopped before it
 * has begun never calls it; the task_struct is freed when the thread has ended and nobody is stopping
 * it, so stopping a thread that ends by itself may be a use after free.
 * Left out: parking, binding to a CPU.
 */
import { EINTR, ENOMEM } from '../base/errno.ts';
import { fn, type Call, type KernelCallable } from './call.ts';
import { errPtr, type ErrPtr } from './err-ptr.ts';
import { GFP_KERNEL } from './gfp.ts';
import { perKernel } from './kernel.ts';
import { LockClass } from './lock-class.ts';
import { dropMap, holdMap, touchMap, type Waitable } from './lock-map.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { textFootprint } from './module.ts';
import { access, made, Operation, READ, WRITE, type Access, type Body } from './operation.ts';
import { current, running } from './running.ts';
import { kzalloc } from './slab.ts';
import { sleeperOf, type Sleeper } from './sleep.ts';
import { struct } from './struct.ts';
import type { Task } from './task.ts';

/** A thread's function; what it returns is what kthread_stop returns. */
export type ThreadFunction<D> = KernelCallable<[D], number>;

/** A kernel thread, as who started it knows it. */
export class Kthread extends KernelObject {
  name = 'kthread';
  func: ThreadFunction<never> | null = null;
  data: unknown = null;
  task: Task | null = null;
  sleeper: Sleeper | null = null;
  shouldStop = false;
  isDone = false;
  result = -EINTR;
  exitStep = -1;
  /** One while it runs, one for each kthread_stop. */
  private references = 1;
  readonly startOperation = new StartThread(this);
  readonly exitOperation = new ExitThread(this);
  readonly stopOperation = new StopThread(this);
  readonly waitOperation = new WaitForThread(this);
  readonly shouldStopOperation = new ShouldStop(this);

  /** What lockdep knows it by: stopping it waits for its function. Its class is its name. */
  get waitable(): Waitable {
    const lockClass = new LockClass({ name: `(kthread)${this.name}`, isLock: false });
    return { path: this.name, lock: this, lockClass };
  }

  get(): void {
    this.references += 1;
  }

  /** The last one frees the task_struct, whose only variable every operation touches. */
  put(): void {
    this.references -= 1;
    if (this.references === 0) running.release(this.memory);
  }
}

const ThreadStruct = struct('task_struct', {
  kthread: new FieldSpec(1, (at: Placement) => new Kthread(at)),
});

const threads = perKernel(() => new Map<Task, Kthread>());

abstract class ThreadOperation<R> extends Operation<R> {
  readonly thread: Kthread;

  constructor(thread: Kthread) {
    super(thread.memory);
    this.thread = thread;
  }

  footprint(out: Access[], _task: Task): void {
    out.push(access(this.thread.variable, WRITE));
  }
}

/** Whether the function is to be called. */
class StartThread extends ThreadOperation<boolean> {
  override readonly footprintVaries = true;
  override footprint(out: Access[]): void {
    const { variable, func } = this.thread;
    out.push(access(variable, READ));
    if (func !== null) textFootprint(func.callee, out);
  }

  perform(task: Task): boolean {
    holdMap(task, this.thread.waitable);
    return !this.thread.shouldStop;
  }

  describe(): string {
    return `${this.thread.name} begins`;
  }
}

class ExitThread extends ThreadOperation<void> {
  perform(task: Task): void {
    const { thread } = this;
    dropMap(task, thread);
    thread.isDone = true;
    thread.exitStep = running.now;
    thread.put();
  }

  describe(): string {
    return `${this.thread.name} exits`;
  }
}

class StopThread extends ThreadOperation<void> {
  override readonly footprintVaries = true;
  override readonly maySleep = true;

  override footprint(out: Access[]): void {
    const { variable, sleeper } = this.thread;
    out.push(access(variable, WRITE));
    if (sleeper !== null) out.push(access(sleeper.variable, WRITE));
  }

  perform(task: Task): void {
    const { thread } = this;
    touchMap(task, thread.waitable);
    thread.get();
    thread.shouldStop = true;
    if (thread.sleeper?.isAsleep === true) thread.sleeper.wakeUp();
  }

  describe(): string {
    return `kthread_stop(${this.thread.name})`;
  }
}

/** Returns what the function returned. */
class WaitForThread extends ThreadOperation<number> {
  override readonly maySleep = true;

  override isEnabled(): boolean {
    return this.thread.isDone;
  }

  perform(): number {
    const { thread } = this;
    running.requires(thread.exitStep);
    thread.put();
    return thread.result;
  }

  describe(): string {
    return `kthread_stop(${this.thread.name}): has ended`;
  }

  override blockers(): readonly Task[] {
    const { isDone, task } = this.thread;
    return isDone || task === null ? [] : [task];
  }
}

class ShouldStop extends ThreadOperation<boolean> {
  override footprint(out: Access[]): void {
    out.push(access(this.thread.variable, READ));
  }

  perform(): boolean {
    return this.thread.shouldStop;
  }

  describe(): string {
    return 'kthread_should_stop()';
  }
}

class CreateThread extends Operation<void> {
  override readonly maySleep = true;

  override footprint(): void {
    // Nobody knows the thread yet.
  }

  perform(task: Task): void {
    const [thread, isDaemon] = task.argument as [Kthread, boolean];
    thread.task = running.spawn(thread.name, isDaemon ? 'daemon' : 'thread', null, () =>
      threadBody(thread),
    );
    thread.sleeper = sleeperOf(thread.task);
    threads(running).set(thread.task, thread);
  }

  describe(task: Task): string {
    return `kthread_run(${(task.argument as [Kthread])[0].name})`;
  }
}

const CREATE_THREAD = new CreateThread(null);

function* threadBody(thread: Kthread): Body<void> {
  if (yield* made(thread.startOperation)) {
    thread.result = yield* (thread.func as ThreadFunction<never>)(thread.data as never);
  }
  yield* made(thread.exitOperation);
}

/**
 * `kthread_run(func, data, name)`: a running thread, or ERR_PTR(-ENOMEM). May sleep. A daemon may wait
 * for ever: that it is blocked when all is over is no deadlock.
 */
export function kthreadRun<D>(
  func: ThreadFunction<D>,
  data: D,
  name: string,
  options: { readonly isDaemon?: boolean } = {},
): Call<Kthread | ErrPtr> {
  const details = { name, isDaemon: options.isDaemon ?? false };
  return createThread(func as ThreadFunction<never>, data, details);
}

const createThread = fn(
  function* createThread(
    func: ThreadFunction<never>,
    data: unknown,
    { name, isDaemon }: { readonly name: string; readonly isDaemon: boolean },
  ): Body<Kthread | ErrPtr> {
    const memory = yield* kzalloc(ThreadStruct, GFP_KERNEL);
    if (memory === null) return errPtr(-ENOMEM);
    const { kthread } = memory;
    kthread.name = name;
    kthread.func = func;
    kthread.data = data;
    yield* made(CREATE_THREAD, [kthread, isDaemon]);
    return kthread;
  },
  { name: 'kthread_run' },
);

/**
 * `kthread_stop(thread)`: makes kthread_should_stop true, wakes the thread and waits until it has ended;
 * returns what its function returned, -EINTR if it was never called. May sleep.
 */
export const kthreadStop = fn(function* kthreadStop(thread: Kthread) {
  yield* made(thread.stopOperation);
  return yield* made(thread.waitOperation);
});

/** `kthread_should_stop()`, asked by the thread itself. */
export function kthreadShouldStop(): Operation<boolean> {
  const thread = threads(running).get(current());
  if (thread === undefined) running.misuse('kthreadShouldStop() outside a kthread');
  return made((thread as Kthread).shouldStopOperation);
}

/**
 * Processes, as scenarios drive them: an address space, open files, and system calls.
 *
 * Any task may make system calls of a process; it then runs as one of its threads. `exit` ends all of
 * them: calls in progress are finished, later ones are never made, then the last thread leaves the
 * address space (exit_mm) and after that closes the files (exit_files), as in do_exit.
 *
 * Simplified: all threads of a process share one task_struct, the group leader's; a signal that kills a
 * thread is not delivered to calls in progress, they run to their end.
 */
import { ENOMEM, ESRCH } from '../base/errno.ts';
import { fn, type Call } from '../kernel/call.ts';
import {
  closeAll,
  copyFileTable,
  fileClose,
  fileIoctl,
  fileMmap,
  fileOpen,
  newFileTable,
  type FileTable,
} from '../kernel/file.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { access, COMMUTE, made, Operation, WRITE, type Access } from '../kernel/operation.ts';
import { current, running } from '../kernel/running.ts';
import { kzalloc } from '../kernel/slab.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { Task } from '../kernel/task.ts';
import { mmAlloc, mmput, type MmStruct } from '../mm-types/mm-struct.ts';
import { putTaskStruct, TaskStruct } from '../mm-types/task-struct.ts';
import { dupMmap, vmMmap, vmMunmap } from './mmap.ts';

/** Enters the kernel: which calls come before exit and which are never made is decided here. */
class Enter extends Operation<boolean> {
  readonly process: Process;

  constructor(process: Process) {
    super(null);
    this.process = process;
  }

  footprint(out: Access[]): void {
    out.push(access(this.process.variable, COMMUTE));
  }

  /** False if the process has exited. */
  perform(task: Task): boolean {
    const { process } = this;
    if (process.isExiting) return false;
    process.enter(task);
    return true;
  }

  describe(task: Task): string {
    return `syscall ${String(task.argument)}`;
  }
}

class ExitGroup extends Operation<boolean> {
  readonly process: Process;

  constructor(process: Process) {
    super(null);
    this.process = process;
  }

  footprint(out: Access[]): void {
    out.push(access(this.process.variable, WRITE));
  }

  /** False if another thread was first. */
  perform(task: Task): boolean {
    const { process } = this;
    if (process.isExiting) return false;
    process.isExiting = true;
    task.mm = process.mm;
    task.process = process.thread;
    return true;
  }

  describe(): string {
    return 'syscall exit_group()';
  }
}

class WaitForThreads extends Operation<void> {
  readonly process: Process;

  constructor(process: Process) {
    super(null);
    this.process = process;
  }

  override isEnabled(): boolean {
    return this.process.inside.size === 0;
  }

  footprint(): void {
    // Leaving a call only ever enables this; nothing is turned round.
  }

  perform(): void {
    for (const step of this.process.leaveSteps) running.requires(step);
  }

  override blockers(): readonly Task[] {
    return [...this.process.inside];
  }

  describe(): string {
    return 'the other threads leave the kernel';
  }
}

export class Process {
  /** NULL once it has exited. */
  mm: MmStruct | null;
  /** NULL once it was reaped. */
  thread: TaskStruct | null;
  readonly files: FileTable;
  /** What entering and exiting conflict on. */
  readonly variable: number;
  isExiting = false;
  /** Tasks in the middle of a system call. */
  readonly inside = new Set<Task>();
  /** The last step at which each task left one. */
  readonly leaveSteps: number[] = [];
  readonly enterOperation = new Enter(this);
  readonly exitOperation = new ExitGroup(this);
  readonly waitOperation = new WaitForThreads(this);

  constructor(kernel: Kernel, mm: MmStruct, thread: TaskStruct, files: FileTable) {
    this.mm = mm;
    this.thread = thread;
    this.files = files;
    this.variable = kernel.reserveVariables(1);
  }

  enter(task: Task): void {
    this.inside.add(task);
    task.mm = this.mm;
    task.process = this.thread;
  }

  leave(task: Task): void {
    this.inside.delete(task);
    this.leaveSteps[task.index] = running.now;
    task.mm = null;
    task.process = null;
  }

  // The system calls. Each returns what the kernel would, -errno on failure, and -ESRCH if the process
  // has exited. Addresses and lengths are in bytes.

  /** `open(path)`: a file descriptor. */
  open(path: string): Call<number> {
    return sysOpen(this, path);
  }

  /** `close(fd)`. */
  close(fd: number): Call<number> {
    return sysClose(this, fd);
  }

  /** `ioctl(fd, command, argument)`. */
  ioctl(fd: number, command: number | string, argument: unknown = 0): Call<number> {
    return sysIoctl(this, fd, command, argument);
  }

  /** `mmap` of anonymous memory; `address` 0 leaves the choice to the kernel. Returns the address. */
  mmap(address: number, length: number): Call<number> {
    return sysMmap(this, address, length);
  }

  /** `mmap` of an open file. */
  mmapFile(fd: number, argument: unknown): Call<number> {
    return sysMmapFile(this, fd, argument);
  }

  /** `munmap(start, length)`. */
  munmap(start: number, length: number): Call<number> {
    return sysMunmap(this, start, length);
  }

  /** `fork()`: the child, with copies of the mappings and the same open files, or -errno. */
  fork(): Call<Process | number> {
    return sysFork(this);
  }

  /** `exit_group()`. */
  exit(): Call<void> {
    return sysExit(this);
  }
}

/** `call` prints the arguments, for pictures. */
function enter(process: Process, call: string): Operation<boolean> {
  return made(process.enterOperation, call);
}

const sysOpen = fn(
  function* sysOpen(process: Process, path: string) {
    if (!(yield* enter(process, `open("${path}")`))) return -ESRCH;
    const fd = yield* fileOpen(process.files, path);
    process.leave(current());
    return fd;
  },
  { name: 'open' },
);

const sysClose = fn(
  function* sysClose(process: Process, fd: number) {
    if (!(yield* enter(process, `close(${fd})`))) return -ESRCH;
    const result = yield* fileClose(process.files, fd);
    process.leave(current());
    return result;
  },
  { name: 'close' },
);

const sysIoctl = fn(
  function* sysIoctl(process: Process, fd: number, command: number | string, argument: unknown) {
    if (!(yield* enter(process, `ioctl(${fd}, ${command})`))) return -ESRCH;
    const result = yield* fileIoctl(process.files, fd, command, argument);
    process.leave(current());
    return result;
  },
  { name: 'ioctl' },
);

const sysMmap = fn(
  function* sysMmap(process: Process, address: number, length: number) {
    if (!(yield* enter(process, `mmap(${address}, ${length})`))) return -ESRCH;
    const result = yield* vmMmap(process.mm!, address, length);
    process.leave(current());
    return result;
  },
  { name: 'mmap' },
);

const sysMmapFile = fn(
  function* sysMmapFile(process: Process, fd: number, argument: unknown) {
    if (!(yield* enter(process, `mmap(fd ${fd})`))) return -ESRCH;
    const result = yield* fileMmap(process.files, fd, argument);
    process.leave(current());
    return result;
  },
  { name: 'mmap' },
);

const sysMunmap = fn(
  function* sysMunmap(process: Process, start: number, length: number) {
    if (!(yield* enter(process, `munmap(0x${start.toString(16)}, ${length})`))) return -ESRCH;
    const result = yield* vmMunmap(process.mm!, start, length);
    process.leave(current());
    return result;
  },
  { name: 'munmap' },
);

const sysFork = fn(
  function* sysFork(process: Process) {
    if (!(yield* enter(process, 'fork()'))) return -ESRCH;
    const child = yield* copyProcess(process);
    process.leave(current());
    return child;
  },
  { name: 'fork' },
);

const copyProcess = fn(function* copyProcess(process: Process) {
  const thread = yield* kzalloc(TaskStruct, GFP_KERNEL);
  if (thread === null) return -ENOMEM;
  thread.groupLeader = thread;
  thread.pid = process.thread!.pid + 1;
  const mm = yield* mmAlloc();
  if (mm === null) {
    yield* putTaskStruct(thread);
    return -ENOMEM;
  }
  const error = yield* dupMmap(mm, process.mm!);
  if (error !== 0) {
    yield* mmput(mm);
    yield* putTaskStruct(thread);
    return error;
  }
  thread.mm = mm;
  const child = new Process(running, mm, thread, yield* copyFileTable(process.files));
  // As long as it lives it holds its memory, whether or not the scenario keeps hold of it.
  running.roots.push(child);
  return child;
});

const sysExit = fn(
  function* sysExit(process: Process) {
    if (!(yield* made(process.exitOperation))) return;
    yield* made(process.waitOperation);
    yield* exitMm(process);
    yield* closeAll(process.files);
    const task = current();
    task.process = null;
    const { thread } = process;
    process.thread = null;
    // Reaped: whoever else holds the task_struct keeps it alive.
    yield* putTaskStruct(thread!);
  },
  { name: 'do_exit' },
);

/** The last thread leaves the address space. */
const exitMm = fn(function* exitMm(process: Process) {
  const thread = process.thread!;
  const mm = process.mm!;
  yield* spinLock(thread.allocLock);
  thread.mm = null;
  yield* spinUnlock(thread.allocLock);
  process.mm = null;
  current().mm = null;
  yield* mmput(mm);
});

/** A process with an empty address space, for set-up. */
export const createProcess = fn(function* createProcess(pid: number) {
  const thread = yield* kzalloc(TaskStruct, GFP_KERNEL);
  const mm = yield* mmAlloc();
  if (thread === null || mm === null) running.misuse('no memory for a process in set-up');
  thread!.groupLeader = thread;
  thread!.pid = pid;
  thread!.mm = mm;
  return new Process(running, mm!, thread!, newFileTable());
});

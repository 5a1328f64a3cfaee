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
import { closeAll, copyFileTable, newFileTable, type FileTable } from '../kernel/file.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { made } from '../kernel/operation.ts';
import { current, running } from '../kernel/running.ts';
import { kzalloc } from '../kernel/slab.ts';
import { spinLock, spinUnlock } from '../kernel/spinlock.ts';
import type { Task } from '../kernel/task.ts';
import { mmAlloc, mmput, type MmStruct } from '../mm-types/mm-struct.ts';
import { putTaskStruct, TaskStruct } from '../mm-types/task-struct.ts';
import {
  checkBytes,
  checkIntegers,
  sysClose,
  sysIoctl,
  sysMemfdCreate,
  sysMmap,
  sysMmapFile,
  sysOnFile,
  sysOpen,
} from './file-call.ts';
import { dupMmap } from './fork.ts';
import type { MremapOptions } from './mremap.ts';
import { Enter, ExitGroup, WaitForThreads } from './process-entry.ts';
import {
  enter,
  sysBrk,
  sysMadvise,
  sysMincore,
  sysMlock,
  sysMprotect,
  sysMremap,
  sysMsync,
  sysMunlock,
  sysMunmap,
  userLoadCall,
  userStoreCall,
} from './system-call.ts';
import { userWord } from './user-word.ts';

/** How memory is to be mapped; see the constants in base/mman.ts. */
export interface UserMmapOptions {
  /** PROT_*; PROT_READ | PROT_WRITE if left out. */
  readonly prot?: number;
  /** MAP_*; MAP_PRIVATE if left out, and MAP_ANONYMOUS without a descriptor. */
  readonly flags?: number;
  /** A descriptor of `memfdCreate`. */
  readonly fd?: number;
  /** Where in the file the mapping begins, in bytes. */
  readonly offset?: number;
}

/**
 * A process: its system calls, which any task may make, and loads and stores of its program. Addresses, lengths and
 * offsets are in bytes; calls return what the system call returns, -errno on failure.
 */
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
    task.mm = null;
    task.process = null;
    // Set-up and direct mode count no steps.
    if (running.now < 0) return;
    // No holes: a child's first call may be made by a task that is not the first.
    while (this.leaveSteps.length < task.index) this.leaveSteps.push(-1);
    this.leaveSteps[task.index] = running.now;
  }

  // The system calls. Each returns what the kernel would, -errno on failure, and -ESRCH if the process
  // has exited. Addresses, lengths and offsets are in bytes; negative ones are what they are in two's
  // complement, and what is no integer is an error in the scenario. All may sleep.

  /**
   * `open(path, flags)`: a file descriptor of a device, or of `/proc/self/fd/N`, an open memfd with other
   * rights (`O_RDONLY`; O_RDWR if left out).
   */
  open(path: string, flags?: number): Call<number> {
    // What was not said is not shown in pictures either.
    return flags === undefined ? sysOpen(this, path) : sysOpen(this, path, flags);
  }

  /** `close(fd)`. */
  close(fd: number): Call<number> {
    checkIntegers('the arguments of close', fd);
    return sysClose(this, fd);
  }

  /** `ioctl(fd, command, argument)`. */
  ioctl(fd: number, command: number | string, argument: unknown = 0): Call<number> {
    return sysIoctl(this, fd, command, argument);
  }

  /**
   * `mmap`: private anonymous memory to read and write unless `options` says otherwise. `address` is a
   * hint, 0 for none; with MAP_FIXED it is binding. Returns the address.
   */
  mmap(address: number, length: number, options: UserMmapOptions = {}): Call<number> {
    const { prot = 0, flags = 0, fd = 0, offset = 0 } = options;
    checkIntegers('the arguments of mmap', address, length, prot, flags, fd, offset);
    return sysMmap(this, address, length, options);
  }

  /** `mmap` of a device: hands `argument` to its driver. */
  mmapFile(fd: number, argument: unknown): Call<number> {
    return sysMmapFile(this, fd, argument);
  }

  /** `munmap(start, length)`. */
  munmap(start: number, length: number): Call<number> {
    checkIntegers('the arguments of munmap', start, length);
    return sysMunmap(this, start, length);
  }

  /** `mprotect(start, length, prot)`. */
  mprotect(start: number, length: number, prot: number): Call<number> {
    checkIntegers('the arguments of mprotect', start, length, prot);
    return sysMprotect(this, start, length, prot);
  }

  /** `mremap(old, oldLength, newLength, flags, newAddress)`: the new address. */
  mremap(
    old: number,
    oldLength: number,
    newLength: number,
    options: MremapOptions = {},
  ): Call<number> {
    checkIntegers('the arguments of mremap', old, oldLength, newLength);
    checkIntegers('the arguments of mremap', options.flags ?? 0, options.newAddress ?? 0);
    return sysMremap(this, old, { from: oldLength, to: newLength }, options);
  }

  /** `madvise(start, length, advice)`. */
  madvise(start: number, length: number, advice: number): Call<number> {
    checkIntegers('the arguments of madvise', start, length, advice);
    return sysMadvise(this, start, length, advice);
  }

  /** `msync(start, length, flags)`. */
  msync(start: number, length: number, flags: number): Call<number> {
    checkIntegers('the arguments of msync', start, length, flags);
    return sysMsync(this, start, length, flags);
  }

  /** `mlock(start, length)`. */
  mlock(start: number, length: number): Call<number> {
    checkIntegers('the arguments of mlock', start, length);
    return sysMlock(this, start, length);
  }

  /** `munlock(start, length)`. */
  munlock(start: number, length: number): Call<number> {
    checkIntegers('the arguments of munlock', start, length);
    return sysMunlock(this, start, length);
  }

  /** `mincore(start, length)`: a byte for each page, 1 if it is in memory. */
  mincore(start: number, length: number): Call<Uint8Array | number> {
    checkIntegers('the arguments of mincore', start, length);
    return sysMincore(this, start, length);
  }

  /** `brk(address)`: the end of the heap afterwards; 0 asks for it. */
  brk(address: number): Call<number> {
    checkIntegers('the arguments of brk', address);
    return sysBrk(this, address);
  }

  /** A load of one byte: 0 to 255, -SIGSEGV or -SIGBUS. */
  load(address: number): Call<number> {
    checkIntegers('the arguments of load', address);
    return userLoadCall(this, userWord('the address', address));
  }

  /** A store of one byte: 0, -SIGSEGV or -SIGBUS. */
  store(address: number, byte: number): Call<number> {
    checkIntegers('the arguments of store', address);
    checkBytes([byte]);
    return userStoreCall(this, userWord('the address', address), byte);
  }

  /** `memfd_create(name)`: a descriptor of a new, empty file. */
  memfdCreate(name: string): Call<number> {
    return sysMemfdCreate(this, name);
  }

  /** `ftruncate(fd, length)`. */
  ftruncate(fd: number, length: number): Call<number> {
    checkIntegers('the arguments of ftruncate', fd, length);
    const action = { kind: 'truncate', size: length } as const;
    return sysOnFile(this, fd, action, `ftruncate(${fd}, ${length})`) as Call<number>;
  }

  /** `fallocate(fd, mode, offset, length)`; the only mode is PUNCH_HOLE | KEEP_SIZE. */
  fallocate(fd: number, mode: number, offset: number, length: number): Call<number> {
    checkIntegers('the arguments of fallocate', fd, mode, offset, length);
    const action = { kind: 'fallocate', mode, offset, length } as const;
    const text = `fallocate(${fd}, ${mode}, ${offset}, ${length})`;
    return sysOnFile(this, fd, action, text) as Call<number>;
  }

  /** `pwrite(fd, bytes, offset)`: the number of bytes written. */
  pwrite(fd: number, bytes: ArrayLike<number>, offset: number): Call<number> {
    checkIntegers('the arguments of pwrite', fd, offset);
    checkBytes(bytes);
    const action = { kind: 'write', bytes, offset } as const;
    const text = `pwrite(${fd}, ${bytes.length} bytes, ${offset})`;
    return sysOnFile(this, fd, action, text) as Call<number>;
  }

  /** `pread(fd, length, offset)`: the bytes that were read. */
  pread(fd: number, length: number, offset: number): Call<Uint8Array | number> {
    checkIntegers('the arguments of pread', fd, length, offset);
    const action = { kind: 'read', length, offset } as const;
    return sysOnFile(this, fd, action, `pread(${fd}, ${length}, ${offset})`);
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
    // In direct mode a program may fork for ever.
    if (running.directCursor > 0) running.roots.splice(running.roots.indexOf(process) >>> 0, 1);
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

/** System calls of a process on files: devices, and files of tmpfs. */
import { EBADF, EINVAL, ENOENT, ENOMEM, ESRCH } from '../base/errno.ts';
import { MAP_ANONYMOUS, MAP_PRIVATE, O_RDONLY, O_RDWR, O_WRONLY } from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { fileClose, fileIoctl, fileMmap, fileOpen, type FileTable } from '../kernel/file.ts';
import { fdput, type File } from '../kernel/open-file.ts';
import { made } from '../kernel/operation.ts';
import { current, running } from '../kernel/running.ts';
import { FMODE_READ, FMODE_WRITE } from '../mm-types/shmem-file.ts';
import { vmMmap } from './mmap.ts';
import type { Process, UserMmapOptions } from './process.ts';
import {
  shmemFallocate,
  shmemFileOf,
  shmemFileSetup,
  shmemRead,
  shmemReopen,
  shmemTruncate,
  shmemWrite,
} from './shmem-file.ts';
import { enter } from './system-call.ts';
import { userFlags } from './user-word.ts';

/** Opens what is open already once more: `/proc/self/fd/N`. */
const openAgain = fn(
  function* openAgain(files: FileTable, fd: number, flags: number) {
    const file = yield* made(files.findOperation, fd);
    if (file === null) return -ENOENT;
    const own = shmemFileOf(file);
    const access = flags & 3;
    let mode = FMODE_READ | FMODE_WRITE;
    if (access === O_RDONLY) mode = FMODE_READ;
    if (access === O_WRONLY) mode = FMODE_WRITE;
    const opened = own === null ? null : yield* shmemReopen(own, mode);
    yield* fdput(file);
    if (opened === null) return own === null ? -EINVAL : -ENOMEM;
    return yield* made(files.installOperation, opened);
  },
  { name: 'do_sys_open' },
);

export const sysOpen = fn(
  function* sysOpen(process: Process, path: string, flags: number = O_RDWR) {
    if (!(yield* enter(process, `open("${path}")`))) return -ESRCH;
    const again = /^\/proc\/self\/fd\/(\d+)$/.exec(path);
    const fd = again
      ? yield* openAgain(process.files, Number(again[1]), userFlags('the flags', flags))
      : yield* fileOpen(process.files, path);
    process.leave(current());
    return fd;
  },
  { name: 'open' },
);

export const sysClose = fn(
  function* sysClose(process: Process, fd: number) {
    if (!(yield* enter(process, `close(${fd})`))) return -ESRCH;
    const result = yield* fileClose(process.files, fd);
    process.leave(current());
    return result;
  },
  { name: 'close' },
);

export const sysIoctl = fn(
  function* sysIoctl(process: Process, fd: number, command: number | string, argument: unknown) {
    if (!(yield* enter(process, `ioctl(${fd}, ${command})`))) return -ESRCH;
    const result = yield* fileIoctl(process.files, fd, command, argument);
    process.leave(current());
    return result;
  },
  { name: 'ioctl' },
);

export const sysMmapFile = fn(
  function* sysMmapFile(process: Process, fd: number, argument: unknown) {
    if (!(yield* enter(process, `mmap(fd ${fd})`))) return -ESRCH;
    const result = yield* fileMmap(process.files, fd, argument);
    process.leave(current());
    return result;
  },
  { name: 'mmap' },
);

export const sysMmap = fn(
  function* sysMmap(process: Process, address: number, length: number, how: UserMmapOptions) {
    const { prot, fd = -1, offset } = how;
    const flags = how.flags ?? (fd === -1 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE);
    const options = {
      flags,
      ...(prot === undefined ? {} : { prot }),
      ...(offset === undefined ? {} : { offset }),
    };
    if (!(yield* enter(process, () => `mmap(${showAddress(address)}, ${length})`))) return -ESRCH;
    let result: number;
    if ((userFlags('the flags', flags) & MAP_ANONYMOUS) !== 0) {
      result = yield* vmMmap(process.mm!, address, length, options);
    } else {
      const file = yield* made(process.files.findOperation, fd);
      result = yield* vmMmap(process.mm!, address, length, { ...options, file });
      if (file !== null) yield* fdput(file);
    }
    process.leave(current());
    return result;
  },
  { name: 'mmap' },
);

function showAddress(address: number): string {
  return address === 0 ? '0' : `0x${address.toString(16)}`;
}

export const sysMemfdCreate = fn(
  function* sysMemfdCreate(process: Process, name: string) {
    if (!(yield* enter(process, `memfd_create("${name}")`))) return -ESRCH;
    const file = yield* shmemFileSetup(0);
    const fd = file === null ? -ENOMEM : yield* made(process.files.installOperation, file);
    process.leave(current());
    return fd;
  },
  { name: 'memfd_create' },
);

/** What is done with an open file. */
type FileAction =
  | { readonly kind: 'truncate'; readonly size: number }
  | {
      readonly kind: 'fallocate';
      readonly mode: number;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly kind: 'write'; readonly bytes: ArrayLike<number>; readonly offset: number }
  | { readonly kind: 'read'; readonly length: number; readonly offset: number };

/** One of the calls on a file of tmpfs. */
const actOn = fn(
  function* actOn(file: File, action: FileAction) {
    switch (action.kind) {
      case 'truncate':
        return yield* shmemTruncate(file, action.size);
      case 'fallocate':
        return yield* shmemFallocate(file, action.mode, action);
      case 'write':
        return yield* shmemWrite(file, action.bytes, action.offset);
      default:
        return yield* shmemRead(file, action.length, action.offset);
    }
  },
  { name: 'ksys_file' },
);

/** `text` prints the call, for pictures. */
export const sysOnFile = fn(
  function* sysOnFile(process: Process, fd: number, action: FileAction, text: string) {
    if (!(yield* enter(process, text))) return -ESRCH;
    const file = yield* made(process.files.findOperation, fd);
    let result: number | Uint8Array = -EBADF;
    if (file !== null) {
      result = yield* actOn(file, action);
      yield* fdput(file);
    }
    process.leave(current());
    return result;
  },
  { name: 'syscall' },
);

/** Bytes are from 0 to 255: ends the search with a message otherwise. */
export function checkBytes(bytes: ArrayLike<number>): void {
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] as number;
    if (!Number.isInteger(byte) || byte < 0 || byte > 255) {
      running.misuse(`a byte is an integer from 0 to 255, not ${String(byte)}`);
    }
  }
}

/**
 * Integers are integers, of whatever size: ends the search with a message otherwise, before anything has
 * happened.
 */
export function checkIntegers(name: string, ...values: readonly number[]): void {
  for (const value of values) {
    if (!Number.isInteger(value)) {
      running.misuse(`${name} must be integers, not ${String(value)}`);
    }
  }
}

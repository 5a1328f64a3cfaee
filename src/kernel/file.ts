/**
 * Open files as a process uses them: open, close, ioctl, mmap, dup, and what fork and exit do to
 * descriptors. The parts are in open-file.ts (who keeps a file alive), char-device.ts (what a path
 * finds) and file-table.ts (descriptors).
 *
 * Modelled: open takes the owner's module and is undone when the driver's open fails; a system call in
 * progress keeps the file alive while another thread closes it.
 * Left out: inodes, offsets, read, write, poll, permissions.
 */
import { EBADF, ENODEV, ENOMEM, ENOTTY } from '../base/errno.ts';
import { fn } from './call.ts';
import { openDevice } from './char-device.ts';
import { FileTable } from './file-table.ts';
import { GFP_KERNEL } from './gfp.ts';
import { modulePut } from './module.ts';
import { fdput, File, fput } from './open-file.ts';
import { made, type Operation } from './operation.ts';
import { kfree, kzalloc } from './slab.ts';

export { registerChrdev, unregisterChrdev } from './char-device.ts';
export { FileTable } from './file-table.ts';
export { File, fput, getFile, type FileOperations } from './open-file.ts';

/** An empty table. */
export function newFileTable(): FileTable {
  return new FileTable();
}

/** A table with the same files, each with one more reference: fork. */
export function copyFileTable(table: FileTable): Operation<FileTable> {
  return made(table.copyOperation);
}

/**
 * `open(path)`: a descriptor, or -ENOMEM, -ENOENT if there is no such device, -ENXIO if its module is
 * being unloaded, or what the driver's open returned. May sleep.
 */
export const fileOpen = fn(
  function* fileOpen(table: FileTable, path: string) {
    const file = yield* kzalloc(File, GFP_KERNEL);
    if (file === null) return -ENOMEM;
    const device = yield* openDevice(path);
    if (typeof device === 'number') {
      yield* kfree(file);
      return device;
    }
    const { fops } = device;
    file.fOp = fops;
    file.fCount.fops = fops;
    const error = fops.open === undefined ? 0 : yield* fops.open(file);
    if (error !== 0) {
      if (fops.owner !== undefined) yield* modulePut(fops.owner);
      yield* kfree(file);
      return error;
    }
    return yield* made(table.installOperation, file);
  },
  { name: 'do_sys_open' },
);

/** `close(fd)`: 0, -EBADF, or what the driver's flush returned. May sleep. */
export const fileClose = fn(
  function* fileClose(table: FileTable, fd: number) {
    const file = yield* made(table.removeOperation, fd);
    if (file === null) return -EBADF;
    const flush = file.fOp?.flush;
    const error = flush === undefined ? 0 : yield* flush(file);
    yield* fput(file);
    return error;
  },
  { name: 'filp_close' },
);

/** `ioctl(fd, command, argument)`: what the driver says, -EBADF, or -ENOTTY. May sleep. */
export const fileIoctl = fn(
  function* fileIoctl(table: FileTable, fd: number, command: number | string, argument: unknown) {
    const file = yield* made(table.findOperation, fd);
    if (file === null) return -EBADF;
    const ioctl = file.fOp?.ioctl;
    const result = ioctl === undefined ? -ENOTTY : yield* ioctl(file, command, argument as never);
    yield* fdput(file);
    return result;
  },
  { name: 'ksys_ioctl' },
);

/**
 * The driver's part of `mmap(fd, …)`; `area` is handed to it. What it returns, -EBADF, or -ENODEV if
 * it cannot map. A mapping that stays takes its own reference with {@link getFile}. May sleep.
 */
export const fileMmap = fn(
  function* fileMmap(table: FileTable, fd: number, area: unknown) {
    const file = yield* made(table.findOperation, fd);
    if (file === null) return -EBADF;
    const mmap = file.fOp?.mmap;
    const result = mmap === undefined ? -ENODEV : yield* mmap(file, area as never);
    yield* fdput(file);
    return result;
  },
  { name: 'call_mmap' },
);

/** `dup(fd)`: another descriptor of the same open file, or -EBADF. */
export function fileDup(table: FileTable, fd: number): Operation<number> {
  return made(table.dupOperation, fd);
}

/** Closes every descriptor: the last thread of the process exits. May sleep. */
export const closeAll = fn(
  function* closeAll(table: FileTable) {
    for (const fd of yield* made(table.listOperation)) yield* fileClose(table, fd);
  },
  { name: 'exit_files' },
);

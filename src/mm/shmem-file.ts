/**
 * Open files of tmpfs: memfd_create, shared anonymous memory, opening one again, and the calls on them that
 * the mm sees: ftruncate, fallocate, pread, pwrite.
 *
 * Modelled: an inode lives as long as a file of it is open or mapped; access modes.
 * Left out: names, seals, directories, limits.
 */
import { EBADF, EFBIG, EINVAL, EOPNOTSUPP } from '../base/errno.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from '../base/mman.ts';
import { fn } from '../kernel/call.ts';
import { File, type FileOperations } from '../kernel/open-file.ts';
import { GFP_KERNEL } from '../kernel/gfp.ts';
import { refcountDecAndTest, refcountInc } from '../kernel/refcount.ts';
import { kfree, kzalloc } from '../kernel/slab.ts';
import { AddressSpace } from '../mm-types/address-space.ts';
import { FMODE_READ, FMODE_WRITE, ShmemFile } from '../mm-types/shmem-file.ts';
import {
  punchHole,
  readFileByte,
  truncateInode,
  truncateInodePagesFinal,
  writeFileByte,
} from './truncate.ts';

/** Nobody has this file open or mapped any more. */
const shmemRelease = fn(function* shmemRelease(file: File) {
  const own = file.privateData as ShmemFile;
  const mapping = own.mapping as AddressSpace;
  yield* kfree(own);
  yield* iput(mapping);
  return 0;
});

/** Drops a reference to an inode; the last one frees it and all its pages. */
const iput = fn(function* iput(mapping: AddressSpace) {
  if (!(yield* refcountDecAndTest(mapping.iCount))) return;
  yield* truncateInodePagesFinal(mapping);
  yield* kfree(mapping);
});

const SHMEM_FILE_OPERATIONS: FileOperations = { release: shmemRelease };

/** The file of tmpfs behind an open file, or NULL for one of another kind. */
export function shmemFileOf(file: File): ShmemFile | null {
  return file.fOp === SHMEM_FILE_OPERATIONS ? (file.privateData as ShmemFile) : null;
}

/** Opens an inode, for which it takes over a reference of the caller. NULL without memory: then not. */
const openInode = fn(
  function* openInode(mapping: AddressSpace, mode: number) {
    const own = yield* kzalloc(ShmemFile, GFP_KERNEL);
    if (own === null) return null;
    const file = yield* kzalloc(File, GFP_KERNEL);
    if (file === null) {
      yield* kfree(own);
      return null;
    }
    own.mapping = mapping;
    own.mode = mode;
    file.privateData = own;
    file.fOp = SHMEM_FILE_OPERATIONS;
    file.fCount.fops = SHMEM_FILE_OPERATIONS;
    return file;
  },
  { name: 'alloc_file' },
);

/** `shmem_file_setup(size)`: a new file of that many bytes, all zero, or NULL. May sleep. */
export const shmemFileSetup = fn(function* shmemFileSetup(size: number) {
  const mapping = yield* kzalloc(AddressSpace, GFP_KERNEL);
  if (mapping === null) return null;
  mapping.size = size;
  const file = yield* openInode(mapping, FMODE_READ | FMODE_WRITE);
  if (file === null) yield* kfree(mapping);
  return file;
});

/**
 * Opens the inode of an open file once more, as through /proc/self/fd: a file with rights and identity of
 * its own, or NULL without memory.
 */
export const shmemReopen = fn(
  function* shmemReopen(own: ShmemFile, mode: number) {
    const mapping = own.mapping as AddressSpace;
    yield* refcountInc(mapping.iCount);
    const opened = yield* openInode(mapping, mode);
    if (opened === null) yield* iput(mapping);
    return opened;
  },
  { name: 'path_openat' },
);

/** The greatest size of a file here: beyond, offsets would no longer be exact. */
const SIZE_MAX = 2 ** 47;

/** `ftruncate`: 0, -EINVAL, -EFBIG, or -EBADF. `size` is an integer. May sleep. */
export const shmemTruncate = fn(
  function* shmemTruncate(file: File, size: number) {
    const own = shmemFileOf(file);
    if (own === null || size < 0 || (own.mode & FMODE_WRITE) === 0) return -EINVAL;
    if (size > SIZE_MAX) return -EFBIG;
    return yield* truncateInode(own.mapping!, size);
  },
  { name: 'do_ftruncate' },
);

/** `fallocate` with PUNCH_HOLE | KEEP_SIZE, the only mode here. 0 or -errno. May sleep. */
export const shmemFallocate = fn(
  function* shmemFallocate(
    file: File,
    mode: number,
    range: { readonly offset: number; readonly length: number },
  ) {
    const own = shmemFileOf(file);
    const { offset, length } = range;
    if (offset < 0 || length <= 0) return -EINVAL;
    const isPunch = mode === (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    if (own === null || !isPunch) return -EOPNOTSUPP;
    if ((own.mode & FMODE_WRITE) === 0) return -EBADF;
    if (offset + length > SIZE_MAX) return -EFBIG;
    return yield* punchHole(own.mapping!, offset, offset + length);
  },
  { name: 'vfs_fallocate' },
);

/** `pwrite`: the number of bytes written, or -errno. `bytes` are from 0 to 255. May sleep. */
export const shmemWrite = fn(
  function* shmemWrite(file: File, bytes: ArrayLike<number>, offset: number) {
    const own = shmemFileOf(file);
    if (own === null || offset < 0) return -EINVAL;
    if ((own.mode & FMODE_WRITE) === 0) return -EBADF;
    if (offset + bytes.length > SIZE_MAX) return -EFBIG;
    for (let at = 0; at < bytes.length; at += 1) {
      const error = yield* writeFileByte(own.mapping!, offset + at, bytes[at]!);
      if (error !== 0) return at > 0 ? at : error;
    }
    return bytes.length;
  },
  { name: 'vfs_write' },
);

/** `pread`: the bytes, fewer at the end of the file, or -errno. May sleep. */
export const shmemRead = fn(
  function* shmemRead(file: File, length: number, offset: number) {
    const own = shmemFileOf(file);
    if (own === null || offset < 0 || length < 0) return -EINVAL;
    if ((own.mode & FMODE_READ) === 0) return -EBADF;
    const bytes: number[] = [];
    for (let at = offset; at < offset + length; at += 1) {
      const byte = yield* readFileByte(own.mapping!, at);
      if (byte < 0) break;
      bytes.push(byte);
    }
    return Uint8Array.from(bytes);
  },
  { name: 'vfs_read' },
);

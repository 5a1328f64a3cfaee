/**
 * Truncation, hole punching, and the end of an inode.
 */
import { fn } from '../kernel/call.ts';
import { running } from '../kernel/running.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';

/** Sets the size of the file, in bytes, as ftruncate does: unmaps and drops what is beyond. 0 or -errno. Takes the inode lock. */
export const truncateInode = fn(function* truncateInode(
  _mapping: AddressSpace,
  _size: number,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});

/** fallocate(PUNCH_HOLE | KEEP_SIZE) of [start, end), in bytes, and MADV_REMOVE. 0 or -errno. Takes the inode lock. */
export const punchHole = fn(function* punchHole(
  _mapping: AddressSpace,
  _start: number,
  _end: number,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});

/** `truncate_inode_pages_final(mapping)`: drops all pages of an inode that nobody has open or mapped any more. */
export const truncateInodePagesFinal = fn(function* truncateInodePagesFinal(
  _mapping: AddressSpace,
): Generator<never, void, unknown> {
  running.misuse('not there yet');
});

/** A write of the kernel (`pwrite`): byte at an offset; grows the file. 0 or -errno. */
export const writeFileByte = fn(function* writeFileByte(
  _mapping: AddressSpace,
  _offset: number,
  _byte: number,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});

/** A read of the kernel (`pread`): the byte, or -1 at the end of the file. */
export const readFileByte = fn(function* readFileByte(
  _mapping: AddressSpace,
  _offset: number,
): Generator<never, number, unknown> {
  running.misuse('not there yet');
});

/**
 * What an open file of tmpfs keeps in its private data: a memfd, or what a shared anonymous mapping is made
 * of. Constant from open to release.
 */
import { ptr, struct, type InstanceOf } from '../kernel/struct.ts';
import type { AddressSpace } from './address-space.ts';

export const FMODE_READ = 1;
export const FMODE_WRITE = 2;

export const ShmemFile = struct('shmem_file', {
  mapping: ptr<AddressSpace>(),
  /** FMODE_*. */
  mode: FMODE_READ | FMODE_WRITE,
});
export type ShmemFile = InstanceOf<typeof ShmemFile>;

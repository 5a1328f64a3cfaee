/**
 * Flags of a VMA (`vm_flags`), with the kernel's values.
 *
 * All fit into 31 bits, so that `|`, `&` and `~` of JavaScript keep them positive; VM_MERGEABLE, bit 31 in
 * the kernel, has the bit of VM_ARCH_1 here, which x86 does not use.
 */
export const VM_NONE = 0;
export const VM_READ = 0x1;
export const VM_WRITE = 0x2;
export const VM_EXEC = 0x4;
export const VM_SHARED = 0x8;
/** What mprotect may set: limits of the file that is mapped. */
export const VM_MAYREAD = 0x10;
export const VM_MAYWRITE = 0x20;
export const VM_MAYEXEC = 0x40;
export const VM_MAYSHARE = 0x80;
export const VM_GROWSDOWN = 0x100;
export const VM_PFNMAP = 0x400;
export const VM_LOCKED = 0x2000;
export const VM_IO = 0x4000;
/** MADV_SEQUENTIAL and MADV_RANDOM. */
export const VM_SEQ_READ = 0x8000;
export const VM_RAND_READ = 0x1_0000;
/** MADV_DONTFORK. */
export const VM_DONTCOPY = 0x2_0000;
export const VM_DONTEXPAND = 0x4_0000;
/** Charged against the commit limit: private and writable, now or once. Keeps neighbours apart. */
export const VM_ACCOUNT = 0x10_0000;
export const VM_NORESERVE = 0x20_0000;
export const VM_MERGEABLE = 0x100_0000;
export const VM_WIPEONFORK = 0x200_0000;
export const VM_DONTDUMP = 0x400_0000;
export const VM_SOFTDIRTY = 0x800_0000;
export const VM_MIXEDMAP = 0x1000_0000;
export const VM_HUGEPAGE = 0x2000_0000;
export const VM_NOHUGEPAGE = 0x4000_0000;

export const VM_ACCESS_FLAGS = VM_READ | VM_WRITE | VM_EXEC;
/** Never merged, never locked. */
export const VM_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP;
/** Of a flag word that may differ between VMAs that merge. */
export const VM_IGNORE_MERGE = VM_SOFTDIRTY;

/** Whether writes to the mapping copy: private, and could be writable. */
export function isCowMapping(flags: number): boolean {
  return (flags & (VM_SHARED | VM_MAYWRITE)) === VM_MAYWRITE;
}

/** GFP flags, as far as they say what an allocation may do while it waits for memory. */

/** May sleep: direct reclaim is allowed. */
export const GFP_DIRECT_RECLAIM = 1;
/** Reclaim may enter the file system. */
export const GFP_FS = 2;
/** Never fails. */
export const GFP_NOFAIL = 4;

/** How an allocation may get its memory: the ordinary way, which sleeps and may enter reclaim. */
export const GFP_KERNEL = GFP_DIRECT_RECLAIM | GFP_FS;
/** As GFP_KERNEL, but reclaim stays out of file systems. */
export const GFP_NOFS = GFP_DIRECT_RECLAIM;
/** Never sleeps: for atomic context. */
export const GFP_ATOMIC = 0;
/** Never sleeps, and may fail sooner. */
export const GFP_NOWAIT = 0;

/** Flags of an allocation: GFP_*. */
export type Gfp = number;

/** The flags as pictures show them: `GFP_KERNEL`. */
export function gfpName(gfp: Gfp): string {
  const name =
    (gfp & GFP_FS) !== 0
      ? 'GFP_KERNEL'
      : (gfp & GFP_DIRECT_RECLAIM) !== 0
        ? 'GFP_NOFS'
        : 'GFP_ATOMIC';
  return (gfp & GFP_NOFAIL) !== 0 ? `${name} | __GFP_NOFAIL` : name;
}

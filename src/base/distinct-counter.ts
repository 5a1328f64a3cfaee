/**
 * Counts how many different hashes it was shown, in a fixed amount of memory.
 *
 * It keeps the `size` smallest hashes (a bottom-k sketch). Up to so many, the count is exact. Beyond
 * that, how small the largest of them has become tells how many there must have been: hashes are spread
 * evenly, so the k-th smallest of n lies near k/n of their range. The relative standard error is
 * 1/√(size - 2): 1.6 % for 4096. Equal hashes of different things are not noticed; of n things about
 * n² / 2^54 pairs have one.
 *
 * What is kept is a fair choice of all that was seen, with how often each was. So it also tells what
 * part was seen only once, which says how much there is that has not been seen (Good 1953).
 */
import { DISTINCT_COUNTER_SIZE } from './limits.ts';

/** Hashes are whole numbers from 0 to this, which is not included. */
export const HASH_RANGE = 2 ** 53;

export class DistinctCounter {
  private readonly size: number;
  /** In ascending order. */
  private readonly hashes: Float64Array;
  /** How often each of them came. */
  private readonly counts: Uint32Array;
  private length = 0;
  private hasOverflown = false;

  constructor(size: number = DISTINCT_COUNTER_SIZE) {
    this.size = size;
    this.hashes = new Float64Array(size);
    this.counts = new Uint32Array(size);
  }

  /** Shows it a hash: a whole number below {@link HASH_RANGE}, evenly spread. */
  add(hash: number): void {
    const { hashes, counts, size } = this;
    if (this.length === size && hash > (hashes[size - 1] as number)) {
      this.hasOverflown = true;
      return;
    }
    const at = this.position(hash);
    if (at < this.length && hashes[at] === hash) {
      counts[at] = (counts[at] as number) + 1;
      return;
    }
    if (this.length === size) this.hasOverflown = true;
    else this.length += 1;
    hashes.copyWithin(at + 1, at, this.length - 1);
    counts.copyWithin(at + 1, at, this.length - 1);
    hashes[at] = hash;
    counts[at] = 1;
  }

  /** The number of different hashes: see {@link isExact} and {@link standardError}. */
  get count(): number {
    if (!this.hasOverflown) return this.length;
    const largest = ((this.hashes[this.size - 1] as number) + 0.5) / HASH_RANGE;
    return Math.round((this.size - 1) / largest);
  }

  /** Whether {@link count} is no estimate. */
  get isExact(): boolean {
    return !this.hasOverflown;
  }

  /** The standard deviation of {@link count}, relative to the true number; 0 if it is exact. */
  get standardError(): number {
    return this.hasOverflown ? 1 / Math.sqrt(this.size - 2) : 0;
  }

  /** Which part of the different hashes came only once, from 0 to 1; 0 if there were none. */
  get onceShare(): number {
    let once = 0;
    for (let at = 0; at < this.length; at += 1) if (this.counts[at] === 1) once += 1;
    return this.length === 0 ? 0 : once / this.length;
  }

  /** Where `hash` is, or belongs. */
  private position(hash: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.hashes[middle] as number) < hash) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * Random numbers from a seed: equal seeds, equal numbers, everywhere and for ever.
 *
 * The generator is xoroshiro128+ in halves of 32 bits, of which the higher bits are used first. Good
 * enough for choosing schedules, not for secrets.
 */
import { mix } from './hash.ts';

const TWO_POW_32 = 2 ** 32;

/** The four words of a generator's state, as other implementations order them: s01, s00, s11, s10. */
export type RandomState = readonly [number, number, number, number];

export class Random {
  private s01: number;
  private s00: number;
  private s11: number;
  private s10: number;

  /** @param seed any whole number; of a large one the lower 53 bits count. */
  constructor(seed: number) {
    [this.s01, this.s00, this.s11, this.s10] = stateOfSeed(seed);
  }

  /** 32 random bits, as a signed number. */
  next(): number {
    const { s00, s01 } = this;
    const out = (s00 + this.s10) | 0;
    const a0 = this.s10 ^ s00;
    const a1 = this.s11 ^ s01;
    this.s00 = (s00 << 24) ^ (s01 >>> 8) ^ a0 ^ (a0 << 16);
    this.s01 = (s01 << 24) ^ (s00 >>> 8) ^ a1 ^ ((a1 << 16) | (a0 >>> 16));
    this.s10 = (a1 << 5) ^ (a0 >>> 27);
    this.s11 = (a0 << 5) ^ (a1 >>> 27);
    return out;
  }

  /** A number from 0, which is included, to 1, which is not. */
  unit(): number {
    return (this.next() >>> 0) / TWO_POW_32;
  }

  /**
   * A whole number from 0 to `count` - 1, each with the same probability up to a part in 2^32 /
   * `count`.
   */
  below(count: number): number {
    return Math.floor(this.unit() * count);
  }
}

/** The state that a seed stands for: close seeds give states that have nothing in common. */
export function stateOfSeed(seed: number): RandomState {
  const low = seed | 0;
  const high = Math.floor(seed / TWO_POW_32) | 0;
  const first = mix(low ^ 0x243f6a88);
  const second = mix(high ^ first ^ 0x13198a2e);
  const third = mix(second ^ low ^ 0x03707344);
  // All words 0 is the one state that never changes.
  return [first, second, third, mix(third ^ 0x299f31d0) | 1];
}

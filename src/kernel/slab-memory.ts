/**
 * The live memory of the slab, in order of allocation.
 *
 * Not a Set: when a Set has no room left it moves to a new table, and its old one goes on pointing to the
 * new one and to all that was in it. Once one of these tables is old for the garbage collector, everything
 * that is allocated and freed from then on stays until the next full collection. Here what was taken out
 * leaves a hole, and when half of the places are holes the rest moves up.
 */
import type { Memory } from './memory.ts';

/** Fewer places than this are not worth the trouble. */
const PLACES_MIN = 32;

export class SlabMemory implements Iterable<Memory> {
  private readonly places: (Memory | null)[] = [];
  private count = 0;

  get size(): number {
    return this.count;
  }

  /** Adds memory that is in no list. */
  add(memory: Memory): void {
    memory.slabIndex = this.places.length;
    this.places.push(memory);
    this.count += 1;
  }

  /** Takes memory out if it is there. */
  delete(memory: Memory): void {
    const { places } = this;
    const at = memory.slabIndex;
    if (at < 0) return;
    memory.slabIndex = -1;
    this.count -= 1;
    places[at] = null;
    if (at === places.length - 1) places.pop();
    else if (places.length >= PLACES_MIN && this.count * 2 < places.length) this.moveUp();
  }

  *[Symbol.iterator](): Iterator<Memory> {
    for (const memory of this.places) if (memory !== null) yield memory;
  }

  private moveUp(): void {
    const { places } = this;
    let used = 0;
    for (const memory of places) {
      if (memory === null) continue;
      memory.slabIndex = used;
      places[used] = memory;
      used += 1;
    }
    places.length = used;
  }
}

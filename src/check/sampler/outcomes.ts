/**
 * Draws how steps turn out that can do so in several ways: `choose`, faults, signals, timeouts.
 *
 * In every other execution each way has the same probability. But where a fault can strike at many
 * places and only one may, that nearly always strikes at one of the first; so in the others it strikes
 * with a probability of one in as many places as there are, and otherwise the step turns out the first
 * way, which is the ordinary one.
 */
import type { Random } from '../../base/random.ts';

export class Outcomes {
  private readonly random: Random;
  private executions = 0;
  /** Steps with several ways to turn out, in this execution and the most in one. */
  private places = 0;
  private placesMax = 1;

  constructor(random: Random) {
    this.random = random;
  }

  /** An execution begins. */
  begin(): void {
    this.executions += 1;
    this.places = 0;
  }

  /** One of `arity` ways, from 0. */
  draw(arity: number): number {
    if (arity === 1) return 0;
    this.places += 1;
    this.placesMax = Math.max(this.placesMax, this.places);
    if (this.executions % 2 === 1) return this.random.below(arity);
    return this.random.below(this.placesMax) > 0 ? 0 : 1 + this.random.below(arity - 1);
  }
}

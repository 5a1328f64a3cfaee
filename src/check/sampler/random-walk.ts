/**
 * The random walk: each task that can go on is chosen with the same probability, at each step.
 *
 * Every interleaving can come out, but not with the same probability: one in which a task must stay
 * behind while others take k steps comes about once in 2^k times. Deep corners of long executions are
 * hardly ever seen.
 */
import type { Random } from '../../base/random.ts';
import type { Task } from '../../kernel/task.ts';
import type { Sampler } from './sampler.ts';

export class RandomWalk implements Sampler {
  private readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  begin(): void {
    // It remembers nothing.
  }

  choose(enabled: readonly Task[]): Task {
    return enabled[this.random.below(enabled.length)] as Task;
  }

  taken(): void {
    // As above.
  }

  end(): void {
    // As above.
  }
}

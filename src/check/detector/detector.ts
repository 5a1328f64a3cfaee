/** What the checker asks of a detector besides being a watch. */
import type { Watch } from '../../kernel/watch.ts';
import type { Suspicion } from '../result.ts';

export interface Detector extends Watch {
  /** What it suspects and could not confirm, in all executions so far. */
  readonly suspicions?: readonly Suspicion[];
  /**
   * Names of memory with plain accesses that nothing orders with another access or a free: what they
   * read, and whether they come after the free, depends on more than the trace.
   */
  readonly unorderedMemory?: ReadonlySet<string>;
}

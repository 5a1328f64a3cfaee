/** What the checker asks of a detector besides being a watch. */
import type { Watch } from '../../kernel/watch.ts';
import type { Suspicion } from '../result.ts';

export interface Detector extends Watch {
  /** What it suspects and could not confirm, in all executions so far. */
  readonly suspicions?: readonly Suspicion[];
}

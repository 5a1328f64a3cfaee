/** What the checker asks of a detector besides being a watch. */
import type { Finding } from '../../kernel/finding.ts';
import type { Watch } from '../../kernel/watch.ts';
import type { Schedule } from '../program.ts';
import type { Suspicion } from '../result.ts';

export interface Detector extends Watch {
  /** What it suspects and could not confirm, in all executions so far. */
  readonly suspicions?: readonly Suspicion[];
  /**
   * Names of memory with plain accesses that nothing orders with another access or a free: what they
   * read, and whether they come after the free, depends on more than the trace.
   */
  readonly unorderedMemory?: ReadonlySet<string>;
  /** Set by who explores: the steps of the present execution up to now, asked for when it matters. */
  scheduleSoFar?: (() => Schedule) | null;
  /** For a finding that rests on other executions, too: what has to be run before its own. */
  earlierOf?(finding: Finding): readonly Schedule[];
  /** What has to be run for another detector to learn all that it remembers of executions. */
  readonly learned?: readonly Schedule[];
  /** Findings that it made once, in runs that were then abandoned, and what led to them. */
  readonly unfinished?: readonly { readonly finding: Finding; readonly schedule: Schedule }[];
}

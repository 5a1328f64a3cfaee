/** A consumer of mmu notifiers: one of the fourteen users that the series' cover letter is about. */
import type { AnyScenario } from '../check/scenario.ts';

/** What `list` and the table of consumers say of one; a few words each. */
export interface Consumer {
  /** The driver's folder under src/drivers, and the name of its page. */
  readonly name: string;
  /** What holds the notifier, by the struct's name. */
  readonly object: string;
  /** How that object is found for an address space or a file. */
  readonly key: string;
  /** The locks that its callbacks take, outermost first. */
  readonly locks: string;
  readonly callbacks: readonly string[];
  /** How the notifier's life ends, in each flow that there is. */
  readonly teardown: string;
  /** Its versions, oldest first, as variants name them. */
  readonly versions: readonly string[];
  // Only a scenario's own file knows its state: lists of them are cast.
  readonly scenarios: readonly AnyScenario[];
}

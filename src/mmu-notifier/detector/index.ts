/** The detectors of the notifier core: its invariants I1 to I12. */
import type { Watch } from '../../kernel/watch.ts';
import { CallbackLifetime } from './callback-lifetime.ts';
import { Consequence } from './consequence.ts';
import { FreeNotifier } from './free-notifier.ts';
import { IntervalState } from './interval-state.ts';
import { Ledger } from './ledger.ts';
import { OnePerOps } from './one-per-ops.ts';
import { RangesTold } from './ranges-told.ts';
import { RegistrationInTime } from './registration-in-time.ts';
import { ReleaseBeforePages } from './release-before-pages.ts';
import { SleeplessFree } from './sleepless-free.ts';
import { StartAndEnd } from './start-and-end.ts';
import { UsersAndList } from './users-and-list.ts';

/**
 * The detectors of one execution, for whoever boots it: they see what happens after `watches`, one of which may
 * know what happened before what.
 */
export function notifierDetectors(watches: readonly Watch[]): Watch {
  const order = watches.find(({ knownOrder }) => knownOrder !== undefined)?.knownOrder ?? null;
  return new Ledger(order, (ledger) => [
    new Consequence(ledger),
    new CallbackLifetime(ledger),
    new FreeNotifier(ledger),
    new UsersAndList(ledger),
    new OnePerOps(ledger),
    new RegistrationInTime(ledger),
    new ReleaseBeforePages(ledger),
    new StartAndEnd(ledger),
    new RangesTold(),
    new IntervalState(ledger),
    new SleeplessFree(),
  ]);
}

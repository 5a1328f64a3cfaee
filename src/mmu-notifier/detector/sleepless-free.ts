/**
 * I9 of free_notifier: it must not block wherever it is called. After a put it runs in an SRCU callback, which is
 * atomic anyway. Where registration has failed its caller could sleep, and a driver that does finds out when the
 * first put comes.
 */
import { nonBlockEnd, nonBlockStart } from '../../kernel/preempt.ts';
import type { Rule } from './ledger.ts';
import type { CallbackRun } from './record.ts';

export class SleeplessFree implements Rule {
  onCallback({ op, task }: CallbackRun): void {
    if (op === 'freeNotifier') nonBlockStart(task);
  }

  onCallbackReturn({ op, task }: CallbackRun): void {
    if (op === 'freeNotifier') nonBlockEnd(task);
  }
}

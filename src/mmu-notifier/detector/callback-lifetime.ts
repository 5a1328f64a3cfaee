/**
 * I1: callbacks end with their notifier. A call that comes too late is seen as such. One that comes before
 * the end must also be over by then, and not by chance: its return must happen before the end, or in
 * another order of the same steps it would still be running.
 */
import { reportBroken } from './invariant.ts';
import type { Ledger, Rule } from './ledger.ts';
import { isBefore, type CallbackRun, type NotifierRecord } from './record.ts';

export class CallbackLifetime implements Rule {
  private readonly ledger: Ledger;

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  onCallback(run: CallbackRun): void {
    const { record, name } = run;
    // That free_notifier is called twice is the affair of its own detector.
    if (record.endedBy === null || run.op === 'freeNotifier') return;
    this.report(record, name, `${name} is called after the end of its ${record.object}`);
  }

  onEnded(record: NotifierRecord): void {
    const { kernel, order } = this.ledger;
    for (const run of record.runs) {
      if (run.isRunning) {
        this.report(record, run.name, `${run.name} is still running`, run.startStep);
      } else if (run.end !== null && !isBefore(kernel, order, run.end)) {
        const message = `nothing makes sure that ${run.name} has returned`;
        this.report(record, run.name, message, run.end.step);
      }
    }
  }

  private report(record: NotifierRecord, callback: string, what: string, witness = -1): void {
    const by = record.endedBy ?? '';
    const moment = by === 'free_notifier' ? 'free_notifier was called' : `${by} returned`;
    const isLate = witness < 0;
    reportBroken(this.ledger.kernel, 'I1', {
      object: record.object,
      message: isLate ? `${what}: ${moment}` : `${what} when ${moment} for its ${record.object}`,
      memory: record.notifier.memory,
      place: callback,
      otherPlace: by,
      witnesses: isLate ? [] : [witness],
    });
  }
}

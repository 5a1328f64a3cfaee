/**
 * I7: starts and ends of one notifier match. One that leaves the list between the two is owed nothing.
 */
import { reportBroken } from './invariant.ts';
import { argumentOf, type CoreCall, type Ledger, type Rule } from './ledger.ts';
import type { CallbackRun, NotifierRecord } from './record.ts';

/** A range whose start has been called for a notifier. */
interface Opened {
  readonly record: NotifierRecord;
  readonly range: unknown;
  readonly callback: string;
  readonly step: number;
  /** Its start failed: an end may come, but none is owed. */
  readonly hasFailed: boolean;
  /** The mm's exit took the notifier off the list meanwhile: an end that is called reaches nobody. */
  isPastExit: boolean;
}

const ENDS = new Set([
  'mmu_notifier_invalidate_range_end',
  'mmu_notifier_invalidate_range_only_end',
]);
const NONBLOCK = 'mmu_notifier_invalidate_range_start_nonblock';

export class StartAndEnd implements Rule {
  private readonly ledger: Ledger;
  private readonly opened: Opened[] = [];

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  onCallbackReturn(run: CallbackRun): void {
    if (run.op !== 'invalidateRangeStart') return;
    const { record, name: callback, startStep: step, value } = run;
    this.opened.push({
      record,
      range: run.args[1],
      callback,
      step,
      hasFailed: value !== 0,
      isPastExit: false,
    });
  }

  onCallback({ op, record, args, name }: CallbackRun): void {
    if (op !== 'invalidateRangeEnd' || record.ops?.invalidateRangeStart === undefined) return;
    const at = this.opened.findIndex((item) => item.record === record && item.range === args[1]);
    if (at >= 0) {
      this.opened.splice(at, 1);
      return;
    }
    this.report(record, `${name} is called without a start`, name, 'invalidate_range_start');
  }

  onReturn({ name, args }: CoreCall, value: unknown): void {
    const isFailed = name === NONBLOCK && value !== 0;
    if (!isFailed && !ENDS.has(name)) return;
    const over = this.opened.filter(({ range }) => range === args[0]);
    for (const item of over) {
      this.opened.splice(this.opened.indexOf(item), 1);
      if (item.isPastExit) continue;
      if (!isFailed || !item.hasFailed) this.check(item, name, isFailed, false);
    }
  }

  onCall({ name, args }: CoreCall): void {
    if (name !== 'mmu_notifier_release') return;
    const mm = argumentOf(args, 'mm_struct');
    for (const item of this.opened) {
      if (item.record.mm === mm && item.record.isListed) item.isPastExit = true;
    }
  }

  onOver(): void {
    for (const item of this.opened) this.check(item, '', false, true);
  }

  private check(item: Opened, place: string, isFailed: boolean, isGlobal: boolean): void {
    const { record, callback, hasFailed } = item;
    // Nobody has called its end, neither before the exit nor after it.
    const isOwed = record.isListed || item.isPastExit;
    if (hasFailed || !isOwed || record.ops?.invalidateRangeEnd === undefined) return;
    const why = isFailed ? ', as another start failed' : '';
    this.report(record, `${callback} has succeeded and gets no end${why}`, callback, place, {
      isGlobal,
      witnesses: [item.step],
    });
  }

  private report(
    record: NotifierRecord,
    message: string,
    place: string,
    otherPlace: string,
    more: { readonly isGlobal?: boolean; readonly witnesses?: readonly number[] } = {},
  ): void {
    reportBroken(this.ledger.kernel, 'I7', {
      object: record.object,
      message,
      memory: record.notifier.memory,
      place,
      otherPlace,
      ...more,
    });
  }
}

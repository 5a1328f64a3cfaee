/**
 * I6: exit_mmap frees no page before the release of every notifier has returned, whoever called it.
 *
 * Release may run twice at once, for exit and for an unregister; the one may return early because of the other, so
 * both must have returned, and not by chance: that must happen before exit goes on. One that only unregister has
 * called may also have left the notifier on the list until it returned: then exit came later.
 */
import type { StructObject } from '../../kernel/struct.ts';
import { reportBroken } from './invariant.ts';
import { argumentOf, callerName, type CoreCall, type Ledger, type Rule } from './ledger.ts';
import { isBefore, type CallbackRun, type NotifierRecord } from './record.ts';

export class ReleaseBeforePages implements Rule {
  private readonly ledger: Ledger;
  /** Who is to be released by each exit that has begun. */
  private readonly due = new Map<StructObject, readonly NotifierRecord[]>();

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  onCall({ name, args, frame }: CoreCall): void {
    if (name === 'exit_mmap') {
      const mm = argumentOf(args, 'mm_struct');
      if (mm === null) return;
      const there = [...this.ledger.records.values()].filter(
        (record) => record.mm === mm && isOwed(record),
      );
      if (there.length > 0) this.due.set(mm, there);
      return;
    }
    if (this.due.size === 0 || callerName(frame) !== 'exit_mmap') return;
    if (name === 'mmu_notifier_release' || name === '__mmu_notifier_release') return;
    const mm = argumentOf(frame.caller?.call?.args ?? [], 'mm_struct');
    const records = mm === null ? undefined : this.due.get(mm);
    if (mm === null || records === undefined) return;
    this.due.delete(mm);
    for (const record of records) this.check(record);
  }

  private check(record: NotifierRecord): void {
    const { kernel, order } = this.ledger;
    // The one who put it last has dropped all translations before.
    if (record.kind === 'get' && record.users === 0) return;
    const runs = record.runs.filter(({ op }) => op === 'release');
    const isOver = (run: CallbackRun): boolean =>
      run.end !== null && isBefore(kernel, order, run.end);
    const isOwn = runs.some(({ task }) => task === kernel.currentTask);
    const isDone = isOwn
      ? runs.every((run) => isOver(run))
      : runs.some((run) => isOver(run) || run.wasListed);
    if (isDone) return;
    const run = runs.find((one) => !isOver(one));
    const callback = record.ops?.release?.callee.name ?? 'release';
    reportBroken(kernel, 'I6', {
      object: record.object,
      message:
        run === undefined
          ? `exit_mmap goes on to free pages, and ${callback} was not called`
          : `exit_mmap goes on to free pages, and nothing makes sure that ${callback} has returned`,
      memory: record.notifier.memory,
      place: 'exit_mmap',
      otherPlace: callback,
      witnesses: run === undefined ? [] : [run.startStep],
    });
  }
}

function isOwed({ isRegistered, endedBy, isLive, ops, kind, users }: NotifierRecord): boolean {
  if (!isRegistered || endedBy !== null || !isLive || ops?.release === undefined) return false;
  if (kind === 'interval') return false;
  return kind === 'register' || users > 0;
}

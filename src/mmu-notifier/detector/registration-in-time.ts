/**
 * I5: nothing is registered when the mm's release is over: nobody would ever call it. Decided by the order in
 * which the two get the list's lock, which every order of the same steps agrees on.
 */
import type { Report } from '../../kernel/finding.ts';
import type { StructObject } from '../../kernel/struct.ts';
import type { Task } from '../../kernel/task.ts';
import type { Breach } from '../../kernel/watch.ts';
import type { MmuNotifierMm } from '../mmu-notifier.ts';
import { breachOf, reportBroken } from './invariant.ts';
import { argumentOf, type CoreCall, type Ledger, type Rule } from './ledger.ts';
import type { NotifierRecord } from './record.ts';

const RELEASE = /^(?:__)?mmu_notifier_release$/;

export class RegistrationInTime implements Rule {
  private readonly ledger: Ledger;
  /** Lists whose release has come as far as their lock, and mms whose release is over. */
  private readonly released = new Set<unknown>();
  private readonly late = new Set<NotifierRecord>();

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  onReturn({ name, args }: CoreCall): void {
    const mm = RELEASE.test(name) ? argumentOf(args, 'mm_struct') : null;
    if (mm !== null) this.released.add(mm);
  }

  onListLocked(notifiers: MmuNotifierMm, task: Task): void {
    if (task.frames.some(({ callee }) => RELEASE.test(callee.name))) this.released.add(notifiers);
    if (this.released.size === 0) return;
    for (const record of this.ledger.records.values()) {
      const { registering, mm } = record;
      if (registering === null || !task.frames.includes(registering)) continue;
      if (this.released.has(notifiers) || this.released.has(mm)) this.late.add(record);
    }
  }

  onRegistered(record: NotifierRecord): void {
    const isLate = this.late.delete(record);
    if (!isLate && !(record.kind !== 'interval' && hasNoUsers(record.mm))) return;
    const place = this.ledger.kernel.place();
    reportBroken(this.ledger.kernel, 'I5', {
      object: record.object,
      message: `the ${record.object} is registered on an mm that has no users and has had its release`,
      memory: record.notifier.memory,
      place,
      otherPlace: '__mmu_notifier_release',
    });
  }

  classify({ kind, object }: Report): Breach | null {
    const isAsserted = kind === 'bug' || kind === 'warn';
    return isAsserted && object === 'atomic_read(&mm->mm_users) <= 0' ? breachOf('I5') : null;
  }
}

function hasNoUsers(mm: StructObject | null): boolean {
  const users = (mm as { readonly mmUsers?: { readonly value: number } } | null)?.mmUsers;
  return users?.value === 0;
}

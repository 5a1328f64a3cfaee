/**
 * I3: users and being on the list go together. Looked at whenever somebody gets the list's lock, and so sees
 * what the one before has left, and at the end.
 */
import type { Report } from '../../kernel/finding.ts';
import type { StructObject } from '../../kernel/struct.ts';
import type { Breach } from '../../kernel/watch.ts';
import type { MmuNotifierMm } from '../mmu-notifier.ts';
import { breachOf, reportBroken } from './invariant.ts';
import { argumentOf, type CoreCall, type Ledger, type Rule } from './ledger.ts';
import { rawField, type NotifierRecord } from './record.ts';

/** Release of all notifiers of an mm, in the versions of the core. */
const RELEASE = /^(?:__)?mmu_notifier_release$/;

const UINT_MAX = 2 ** 32 - 1;

export class UsersAndList implements Rule {
  private readonly ledger: Ledger;
  private readonly released = new Set<StructObject>();
  private readonly reported = new Set<NotifierRecord>();
  /** The last function that was called with the notifier. */
  private readonly lastCalls = new Map<unknown, string>();

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  onCall({ name, args }: CoreCall): void {
    if (RELEASE.test(name)) {
      const mm = argumentOf(args, 'mm_struct');
      if (mm !== null) this.released.add(mm);
    } else if (this.ledger.records.has(args[0] as StructObject)) {
      this.lastCalls.set(args[0], name);
    }
  }

  onReturn({ name, args }: CoreCall, value: unknown): void {
    // Later it may be too late: who puts too often may put what is about to be freed.
    if (name !== 'mmu_notifier_put' && name !== 'mmu_notifier_get_locked') return;
    for (const item of [args[0], value]) {
      const record = this.ledger.records.get(item as StructObject);
      if (record !== undefined) this.checkCount(record, name);
    }
  }

  onListLocked(notifiers: MmuNotifierMm): void {
    for (const record of this.ledger.records.values()) {
      if (record.mm === null || rawField(record.mm, 'mmuNotifierMm') !== notifiers) continue;
      this.check(record, false);
    }
  }

  onOver(): void {
    for (const record of this.ledger.records.values()) this.check(record, true);
  }

  classify({ kind, object }: Report): Breach | null {
    return kind === 'warn' && object === '!mn->users' ? breachOf('I3') : null;
  }

  private checkCount(record: NotifierRecord, place: string): void {
    const { users, kind } = record;
    if (kind !== 'get' || (users >= 0 && users <= UINT_MAX) || this.reported.has(record)) return;
    this.reported.add(record);
    reportBroken(this.ledger.kernel, 'I3', {
      object: record.object,
      message: `the users of the ${record.object} wrap: ${users}, after ${place}`,
      memory: record.notifier.memory,
      place,
      otherPlace: 'wraps',
    });
  }

  private check(record: NotifierRecord, isGlobal: boolean): void {
    const { kind, isRegistered, isLive, users, isListed, mm } = record;
    if (kind !== 'get' || !isRegistered || !isLive || this.reported.has(record)) return;
    const isGone = mm === null || this.released.has(mm);
    if (users === 0 ? !isListed : users > 0 && (isListed || isGone)) return;
    this.reported.add(record);
    const where = isListed ? 'on the list' : 'off the list';
    const place = this.lastCalls.get(record.notifier) ?? '';
    reportBroken(this.ledger.kernel, 'I3', {
      object: record.object,
      message: `the ${record.object} with ${users} users is ${where}, after ${place}`,
      memory: record.notifier.memory,
      place,
      otherPlace: where,
      isGlobal,
    });
  }
}

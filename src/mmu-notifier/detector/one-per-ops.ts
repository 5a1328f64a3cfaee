/**
 * I4: get finds a notifier by its ops table, so there must be one at most, and it must be there for who got it.
 * One that was registered directly is found as well, and goes with the unregister of its owner.
 */
import type { HlistNode } from '../../kernel/hlist.ts';
import type { StructObject } from '../../kernel/struct.ts';
import type { MmuNotifierMm } from '../mmu-notifier.ts';
import { reportBroken } from './invariant.ts';
import type { CoreCall, Ledger, Rule } from './ledger.ts';
import { rawField, type NotifierRecord } from './record.ts';

export class OnePerOps implements Rule {
  private readonly ledger: Ledger;
  private readonly reported = new Set<unknown>();
  private readonly seen = new Set<MmuNotifierMm>();

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  onReturn({ name }: CoreCall, value: unknown): void {
    if (name !== 'mmu_notifier_get_locked') return;
    const record = this.ledger.records.get(value as StructObject);
    if (record?.kind !== 'register') return;
    const { object, notifier } = record;
    reportBroken(this.ledger.kernel, 'I4', {
      object,
      message:
        `mmu_notifier_get returns the ${object} of a mmu_notifier_register, whose owner may ` +
        'unregister and free it',
      memory: notifier.memory,
      place: name,
      otherPlace: 'mmu_notifier_register',
    });
  }

  onListLocked(notifiers: MmuNotifierMm): void {
    this.seen.add(notifiers);
    this.check(notifiers, false);
  }

  onOver(): void {
    for (const notifiers of this.seen) if (notifiers.memory.isLive) this.check(notifiers, true);
  }

  private check(notifiers: MmuNotifierMm, isGlobal: boolean): void {
    const byOps = new Map<unknown, NotifierRecord[]>();
    for (let node: HlistNode | null = notifiers.list.first; node !== null; node = node.next) {
      const record = this.ledger.records.get(node.container as StructObject);
      if (record === undefined || !record.isLive) continue;
      const ops = rawField(record.notifier, 'ops');
      const others = byOps.get(ops) ?? [];
      byOps.set(ops, [...others, record]);
    }
    for (const [ops, records] of byOps) {
      const got = records.filter(({ kind }) => kind === 'get');
      if (records.length < 2 || got.length === 0 || this.reported.has(ops)) continue;
      this.reported.add(ops);
      this.report(got, records.length - got.length, isGlobal);
    }
  }

  private report(got: readonly NotifierRecord[], direct: number, isGlobal: boolean): void {
    const { object, notifier } = got[0] as NotifierRecord;
    const others = direct === 0 ? '' : ` and ${direct} of mmu_notifier_register`;
    reportBroken(this.ledger.kernel, 'I4', {
      object,
      message: `the list of an mm has ${got.length} of mmu_notifier_get${others} with one ops table`,
      memory: notifier.memory,
      place: 'mmu_notifier_get_locked',
      otherPlace: direct === 0 ? 'mmu_notifier_get_locked' : 'mmu_notifier_register',
      isGlobal,
    });
  }
}

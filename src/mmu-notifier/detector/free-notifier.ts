/**
 * I2: what alloc_notifier made is given to free_notifier once, and the pin on the mm is dropped after it, or
 * not at all if there never was one.
 */
import type { Frame } from '../../kernel/task.ts';
import { StructObject } from '../../kernel/struct.ts';
import { reportBroken } from './invariant.ts';
import { callerName, type CoreCall, type Ledger, type Rule } from './ledger.ts';
import type { CallbackRun, NotifierRecord } from './record.ts';

/** The call of free_notifier, and what its caller does afterwards. */
interface Free {
  count: number;
  caller: Frame | null;
  drops: number;
}

export class FreeNotifier implements Rule {
  private readonly ledger: Ledger;
  private readonly frees = new Map<NotifierRecord, Free>();
  /** What each call of mmu_notifier_get_locked tries to register. */
  private readonly attempts = new Map<Frame, NotifierRecord>();

  constructor(ledger: Ledger) {
    this.ledger = ledger;
  }

  onCall({ frame, name, args }: CoreCall): void {
    const { caller } = frame;
    if (caller === null) return;
    if (name === 'mmdrop') {
      for (const [record, free] of this.frees) {
        if (free.caller === caller && record.mm === args[0]) free.drops += 1;
      }
    } else if (callerName(frame) === 'mmu_notifier_get_locked' && name.endsWith('_register')) {
      const record = this.ledger.records.get(args[0] as StructObject);
      if (record === undefined) return;
      this.attempts.set(caller, record);
      this.frees.delete(record);
    }
  }

  onCallback({ op, record, frame }: CallbackRun): void {
    if (op !== 'freeNotifier') return;
    const free = this.frees.get(record) ?? { count: 0, caller: null, drops: 0 };
    free.count += 1;
    free.caller = frame.caller;
    free.drops = 0;
    this.frees.set(record, free);
    if (free.count > 1) this.report(record, 'free_notifier is called twice', callerName(frame));
  }

  onReturn({ frame, name }: CoreCall, value: unknown): void {
    const attempt = this.attempts.get(frame);
    if (attempt !== undefined) {
      this.attempts.delete(frame);
      const count = this.frees.get(attempt)?.count ?? 0;
      const isIn = value instanceof StructObject;
      if (!isIn && count === 0) this.report(attempt, 'free_notifier is not called', name);
      if (isIn && count > 0) this.report(attempt, 'free_notifier is called', name);
    }
    for (const [record, free] of this.frees) {
      if (free.caller !== frame) continue;
      free.caller = null;
      const due = record.isRegistered ? 1 : 0;
      if (free.drops === due) continue;
      this.report(record, `mmdrop is called ${free.drops} times after free_notifier`, name);
    }
  }

  /** Unregistering asks for no users and calls no free_notifier: its caller is taken to free what it registered. */
  onEnded(record: NotifierRecord): void {
    if (record.kind !== 'get' || record.endedBy !== 'mmu_notifier_unregister') return;
    this.report(record, 'free_notifier is not called', record.endedBy);
  }

  onOver(): void {
    for (const record of this.ledger.records.values()) {
      const isPut = record.kind === 'get' && record.isRegistered && record.users === 0;
      if (!isPut || this.frees.has(record)) continue;
      this.report(record, 'free_notifier was never called', 'mmu_notifier_put', true);
    }
  }

  private report(record: NotifierRecord, what: string, place: string, isGlobal = false): void {
    reportBroken(this.ledger.kernel, 'I2', {
      object: record.object,
      message: `${what} for the ${record.object}, by or after ${place}`,
      memory: record.notifier.memory,
      place,
      otherPlace: what,
      isGlobal,
    });
  }
}

/** Values of the model as pictures show them: `-ENOMEM`, `NULL`, `kfd_process@0x880000000040`. */
import { errnoName } from '../base/errno.ts';
import { hex, ULONG_MAX } from '../base/ulong.ts';
import { isErr, ptrErr } from '../kernel/err-ptr.ts';
import { KernelObject } from '../kernel/memory.ts';

export interface ValueText {
  readonly text: string;
  /** True for what the kernel counts as an error: a negative error number, an ERR_PTR. */
  readonly isError: boolean;
}

/** From here on numbers are shown in hexadecimal: they are addresses or sizes. */
const HEX_FROM = 0x1_0000;

/** Counters may be negative without that being an error. */
const COUNTER = /^(?:atomic|refcount|READ_ONCE|data_race|xchg|cmpxchg|smp_load)/;

/** What returns nothing in the kernel, and in the model something that is of no interest. */
const VOID =
  /^(?:syscall |(?:atomic_(?:inc|dec|add|sub|set)|refcount_(?:set|inc|dec|add)|kref_(?:init|get)|spin_lock(?:_irqsave|_irq|_bh)?)\()/;

/** What a function returned, or null for nothing. */
export function returnedText(value: unknown): ValueText | null {
  if (value === undefined) return null;
  if (isErr(value)) return { text: `ERR_PTR(${errnoName(ptrErr(value))})`, isError: true };
  if (typeof value === 'number' && value < 0) {
    const text = errnoName(value);
    return { text, isError: text !== String(value) };
  }
  const text = plainText(value);
  return text === null ? null : { text, isError: false };
}

/** What an operation returned, or null for nothing. `description` says which operation it was. */
export function resultText(value: unknown, description: string): ValueText | null {
  if (VOID.test(description)) return null;
  if (typeof value === 'number' && COUNTER.test(description)) {
    return { text: numberText(value), isError: false };
  }
  const isFailedAllocation = value === null && /alloc/.test(description);
  if (isFailedAllocation) return { text: 'NULL', isError: true };
  return returnedText(value);
}

/** The arguments of a call that can be shown: `&kfd_process.mmu_notifier, 1`. */
export function argumentsText(values: readonly unknown[]): string {
  const texts = values.map((value) => {
    if (isErr(value)) return `ERR_PTR(${errnoName(ptrErr(value))})`;
    if (value instanceof KernelObject) return `&${value.path}`;
    return typeof value === 'string' ? `"${value}"` : plainText(value);
  });
  return texts.filter((text) => text !== null).join(', ');
}

/** What a field holds, or null for what cannot be shown. */
export function fieldText(value: unknown): string | null {
  if (isErr(value)) return `ERR_PTR(${errnoName(ptrErr(value))})`;
  if (typeof value === 'string') return `"${value}"`;
  return plainText(value);
}

function plainText(value: unknown): string | null {
  if (value === null) return 'NULL';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return numberText(value);
  if (!(value instanceof KernelObject)) return null;
  // An outermost object is one of many; a part of it is told by its path.
  return value.container === null ? `${value.path}@${hex(addressOf(value))}` : `&${value.path}`;
}

/** Computed, since a struct may have a field of its own called `address`. */
function addressOf({ memory, variable }: KernelObject): number {
  return memory.address + (variable - memory.firstVariable) * 8;
}

function numberText(value: number): string {
  if (value === ULONG_MAX) return 'ULONG_MAX';
  if (!Number.isInteger(value) || value < HEX_FROM) return String(value);
  return `0x${value.toString(16)}`;
}

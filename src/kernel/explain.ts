/** What the engine says about code that was written wrongly. */
import { Call, kernelName } from './call.ts';
import { Operation, type Yieldable } from './operation.ts';
import type { Task } from './task.ts';

/** An operation or call, as a message names it. */
export function nameOf(item: Yieldable<unknown>, task: Task): string {
  if (item instanceof Call) return `${item.callee.name}()`;
  return item instanceof Operation ? item.describe(task) : 'an operation';
}

/** Any other value, as a message names it. */
export function describeValue(value: unknown): string {
  if (typeof value === 'object' && value !== null) return `a ${value.constructor.name}`;
  return String(value);
}

/** V8's words for a NULL dereference → what was tried, or null if it is another TypeError. */
export function nullDereference(message: string): string | null {
  for (const [pattern, verb] of NULL_DEREFERENCES) {
    const match = pattern.exec(message);
    if (match !== null) return `${verb} of ${kernelName(match[1] as string)}`;
  }
  return null;
}

const NULL_DEREFERENCES: readonly (readonly [RegExp, string])[] = [
  [/^Cannot read properties of null \(reading '(.+)'\)$/, 'read'],
  [/^Cannot set properties of null \(setting '(.+)'\)$/, 'write'],
  [/^Cannot destructure property '(.+)' of '.+' as it is null\.$/, 'read'],
];

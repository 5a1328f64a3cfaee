/**
 * The kernel's own assertions, graded as it grades them. One that fires is a finding, not a crash of
 * the tool; only BUG_ON ends its task.
 */
import { running } from './running.ts';

/** `BUG_ON(condition)`; `text` is the condition as the kernel writes it. */
export function bugOn(condition: boolean, text: string): void {
  if (condition) running.assertion('BUG_ON', text);
}

/** `WARN_ON(condition)`: returns the condition. */
export function warnOn(condition: boolean, text: string): boolean {
  if (condition) running.assertion('WARN_ON', text);
  return condition;
}

/** `might_sleep()`: a finding in atomic context. */
export function mightSleep(): void {
  running.mightSleep(running.currentTask, 'might_sleep()');
}

/**
 * The two ambient values of the model: the kernel that is running and the task it is running.
 *
 * The engine sets them at every resume; model code reads them through `running` and `current()`.
 * JavaScript runs one segment at a time, so there is never more than one.
 */
import { IDLE } from './idle.ts';
import type { Kernel } from './kernel.ts';
import type { Task } from './task.ts';

/** The kernel whose code is being executed, or IDLE. Only {@link setRunning} assigns it. */
export let running: Kernel = IDLE as unknown as Kernel;

/** Makes `kernel` the running one and returns the one before. For the engine alone. */
export function setRunning(kernel: Kernel): Kernel {
  const before = running;
  running = kernel;
  return before;
}

/** The task being executed: the kernel's `current`. */
export function current(): Task {
  return running.currentTask;
}

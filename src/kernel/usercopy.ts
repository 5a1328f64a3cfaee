/**
 * copy_from_user and copy_to_user: touching memory of the process.
 *
 * Modelled: that a copy may sleep, and that it may fail (a choice with a budget). Left out: what is
 * copied; arguments of system calls are handed over as they are.
 */
import { made, Operation } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

class UserCopy extends Operation<number> {
  override readonly maySleep = true;
  readonly label: string;

  constructor(label: string) {
    super(null);
    this.label = label;
  }

  override footprint(): void {
    // Whether it fails is the task's own affair.
  }

  override arity(): number {
    return running.left.userFaults > 0 ? 2 : 1;
  }

  perform(task: Task, outcome: number): number {
    if (outcome === 0) return 0;
    running.left.userFaults -= 1;
    return task.argument as number;
  }

  describe(task: Task): string {
    return `${this.label}(${String(task.argument)} bytes)`;
  }
}

const COPY_FROM_USER = new UserCopy('copy_from_user');
const COPY_TO_USER = new UserCopy('copy_to_user');

/** `copy_from_user(…, bytes)`: the number of bytes *not* copied, here all or none. May sleep. */
export function copyFromUser(bytes = 8): Operation<number> {
  return made(COPY_FROM_USER, bytes);
}

/** `copy_to_user(…, bytes)`: the number of bytes *not* copied, here all or none. May sleep. */
export function copyToUser(bytes = 8): Operation<number> {
  return made(COPY_TO_USER, bytes);
}

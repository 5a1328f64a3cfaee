/**
 * What `running` is while no kernel runs: a place where calls may be made and state may be read, but
 * where nothing can happen. A program that embeds the mm makes its calls there and hands each to
 * `runDirect`.
 */
import { UsageError } from '../base/usage-error.ts';
import type { Yieldable } from './operation.ts';

class Idle {
  /** What was made last and not run yet. */
  private item: Yieldable<unknown> | null = null;
  private argument: unknown = undefined;
  /** Nothing is performed here. */
  readonly directTask = null;

  /** Called by every function that hands out an operation or a call. */
  noteMade(item: Yieldable<unknown>, argument: unknown): void {
    const forgotten = this.item;
    this.item = null;
    if (forgotten !== null) {
      throw new UsageError(
        'MN202',
        'a call was made outside of the kernel and never run; hand each to runDirect(machine, call) ' +
          'before the next is made',
      );
    }
    this.item = item;
    this.argument = argument;
  }

  /** The argument that `item` was made with here; undefined if it was made elsewhere. */
  take(item: Yieldable<unknown>): unknown {
    if (this.item !== item) return undefined;
    const { argument } = this;
    this.item = null;
    this.argument = undefined;
    return argument;
  }

  /** Plain fields are simply there. */
  plainAccess(): void {
    // Nobody else runs, and what is freed may be looked at.
  }

  touch(): void {
    // As above.
  }

  misuse(message: string): never {
    throw new UsageError('MN209', message);
  }
}

export const IDLE = new Idle();

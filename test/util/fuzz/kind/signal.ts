/** Waits that a signal ends. */
import { EINTR } from '../../../../src/base/errno.ts';
import type { Effect, StepDefinition, View } from '../machine.ts';

/** Before a wait that a signal ends: one may come, unless one has. */
export const SIGNAL: StepDefinition = {
  take: ({ outcome }) => (outcome === 1 ? { signals: true } : {}),
  arity: ({ signalsLeft }) => (signalsLeft > 0 ? 2 : 1),
  isSkipped: ({ hasSignal }) => hasSignal,
};

/** A wait that a signal ends: with a signal, it takes what is there and gives up at once if not. */
export function interruptible(
  take: (view: View) => Effect | null,
  aspects: number,
): StepDefinition {
  return {
    maySleep: true,
    take: (view) => take(view) ?? (view.hasSignal ? { reads: aspects, result: 1 } : null),
  };
}

export function toldOfSignal(result: unknown): number {
  return result === -EINTR ? 1 : 0;
}

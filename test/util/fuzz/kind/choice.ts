/** Choices of the environment. */
import { choose } from '../../../../src/kernel/choose.ts';
import { asNumber, type FuzzOperation } from './kind.ts';

/** A choice of the environment: no object of its own, and nobody sees it. */
export const CHOICE: FuzzOperation = {
  name: 'choose',
  steps: [{ take: ({ outcome }) => ({ result: outcome }), arity: () => 2 }],
  run: () => choose(2),
  told: asNumber,
};

/** Preemption, turned off and on: no object, but a use for CPUs that tasks share. */
import { preemptDisable, preemptEnable } from '../../../../src/kernel/preempt.ts';
import type { FuzzOperation, Kind } from './kind.ts';

const PREEMPT_ENABLE: FuzzOperation = {
  name: 'preempt_enable',
  steps: [{ take: () => ({ preempt: -1 }) }],
  run: () => preemptEnable(),
};

export const PREEMPT: Kind = {
  prefix: 'p',
  initial: 0,
  field: () => 0,
  valueOf: () => 0,
  operations: [],
  acquisitions: [
    {
      operation: {
        name: 'preempt_disable',
        steps: [{ take: () => ({ preempt: 1 }), disablesPreemption: true }],
        run: () => preemptDisable(),
      },
      takenWhen: null,
      releases: [[PREEMPT_ENABLE]],
    },
  ],
};

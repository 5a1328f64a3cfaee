/**
 * struct hmm against those who walk the mm's notifiers: B-3 and B-4, where they happened. The driver on top of it is
 * nouveau; closing its file takes the last mirror away.
 */
import {
  hmmBeforeGracePeriod,
  hmmByMm,
  hmmSeries,
  hmmV53,
  type HmmVersion,
} from '../../drivers/hmm/index.ts';
import { nouveauSeries, nouveauV53 } from '../../drivers/nouveau/index.ts';
import type { Consumer } from '../consumer.ts';
import { defineScenario } from '../define-scenario.ts';
import {
  close,
  exit,
  forked,
  munmap,
  nouveauSubject,
  unpin,
  type NouveauState,
} from './nouveau-subject.ts';

const FORMS: Readonly<Record<string, HmmVersion>> = {
  '2018': hmmByMm,
  'before-6d7c3cde93c1': hmmBeforeGracePeriod,
  'v5.3': hmmV53,
  series: hmmSeries,
};

const CALLED = { name: 'hmm was called', calls: 'hmm_invalidate_range_start' } as const;

export const hmmUnregister = defineScenario<NouveauState>({
  name: 'hmm-unregister',
  models: ['B-3', 'B-4', 'patch 5', 'I1'],
  about: 'the last mirror of an mm is unregistered, while another thread unmaps',
  variants: {
    '2018': {
      about: 'mm->hmm is gone before the notifier is: a callback finds nothing',
      expect: { verdict: 'violation', kind: 'bug', object: '!hmm' },
      alsoKnown: [{ name: 'B-3', kind: 'use-after-free', object: 'hmm' }],
    },
    'before-6d7c3cde93c1': {
      about: 'struct hmm is freed without a grace period',
      expect: { verdict: 'violation', kind: 'use-after-free', object: 'hmm' },
    },
    'v5.3': {
      about: 'a kref that callbacks must get first, and call_srcu',
      expect: { verdict: 'clean' },
    },
    series: { about: 'get and put', expect: { verdict: 'clean' } },
  },
  setup(machine, variant) {
    const module = variant === 'series' ? nouveauSeries : nouveauV53;
    return nouveauSubject(machine, { hmm: FORMS[variant] as HmmVersion, module });
  },
  tasks: { close, munmap },
  goals: [CALLED, { name: 'the mirror was unregistered', calls: 'hmm_mirror_unregister' }],
  finally: unpin,
});

export const hmmUnregisterExit = defineScenario<NouveauState>({
  ...hmmUnregister,
  name: 'hmm-unregister-exit',
  models: ['patch 5', 'I1', 'I6'],
  about:
    'the last mirror of an mm is unregistered by a child that has the file, while the process exits',
  variants: {
    'v5.3': { expect: { verdict: 'clean' } },
    series: { expect: { verdict: 'clean' } },
  },
  setup(machine, variant) {
    const state = forked(machine, hmmUnregister.setup(machine, variant));
    machine.runNow(state.process.close(state.fd));
    return state;
  },
  tasks: {
    close: {
      *run({ child, fd }) {
        yield* child!.close(fd);
      },
    },
    exit,
  },
  goals: [{ name: 'hmm was released', calls: 'hmm_release' }],
});

export const HMM_SCENARIOS = [hmmUnregister, hmmUnregisterExit];

export const HMM: Consumer = {
  name: 'hmm',
  object: 'hmm',
  key: 'v5.3: mm->hmm, under page_table_lock; series: by mmu_notifier_get_locked',
  locks: 'hmm.ranges_lock, hmm.mirrors_sem',
  callbacks: ['release', 'invalidate_range_start', 'invalidate_range_end'],
  teardown:
    'v5.3: unregister_no_release with the last mirror or range, call_srcu; series: put with the last mirror',
  versions: ['2018', 'before-6d7c3cde93c1', 'v5.3', 'series'],
  // Only a scenario's own file knows its state.
  scenarios: HMM_SCENARIOS as unknown as Consumer['scenarios'],
};

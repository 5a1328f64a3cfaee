/** The same programs given to tools that others use. */
import { now } from './clock.ts';
import { contestants, type Contestant } from './contestant.ts';
import { median } from './measure.ts';
import { runFastCheck } from './peer/fast-check.ts';
import { promelaOf } from './peer/promela.ts';
import { SPIN_MEBIBYTES_MAX, SpinVerifier, spinVersion } from './peer/spin.ts';
import { measured, programNamed } from './programs.ts';
import {
  count,
  rounded,
  seconds,
  table,
  type BenchOptions,
  type Cell,
  type Suite,
} from './suite.ts';

const TEXT = `## The same programs given to others

_mmulab_ executes one interleaving of each class, with all detectors and with none. _SPIN_ visits the
states of a Promela model (\`-O2 -DSAFETY\`, partial-order reduction on, compilation not counted, memory
up to ${SPIN_MEBIBYTES_MAX} MiB): it remembers states, so it need not execute every class, but its memory
grows with them. _fast-check_ draws schedules of the same tasks, written as async functions, at random:
whatever their number, it can miss a class, so what it needs for all of them is not known; the time is
that of as many schedules as there are classes. Times are of the processor, and medians over rounds in
which all have a turn; × is how many times as long the other takes as mmulab without detectors, in the
same round.`;

/** Schedules that are enough to know a rate. */
const SCHEDULES_MAX = 4000;
/** Programs of which the whole takes so long that once must be enough. */
const MS_TO_REPEAT_MAX = 8000;

interface Peer {
  readonly spin: SpinVerifier | null;
  readonly explorers: readonly Contestant[];
}

/** What one round has measured, in milliseconds. */
interface Round {
  readonly plain: number;
  readonly watched: number;
  readonly executions: number;
  readonly spin: {
    readonly ms: number;
    readonly states: number;
    readonly isComplete: boolean;
  } | null;
  readonly fastCheck: number | null;
}

function explored(contestant: Contestant, name: string): { ms: number; executions: number } {
  const start = now();
  const { executions } = contestant.run(programNamed(name), Infinity);
  return { ms: now() - start, executions };
}

async function oneRound(name: string, { spin, explorers }: Peer): Promise<Round> {
  const [plain, watched] = explorers as [Contestant, Contestant];
  const bare = explored(plain, name);
  const withDetectors = explored(watched, name);
  const schedules = Math.min(bare.executions, SCHEDULES_MAX);
  const fastCheck = await runFastCheck(name, schedules);
  return {
    plain: bare.ms,
    watched: withDetectors.ms,
    executions: bare.executions,
    spin: spin === null ? null : spin.run(),
    fastCheck: fastCheck === null ? null : (fastCheck * bare.executions) / schedules,
  };
}

function row(name: string, rounds: readonly Round[]): Cell[] {
  const [{ executions, spin }] = rounds as [Round];
  const plain = median(rounds.map((round) => round.plain));
  const times = (of: (round: Round) => number): string => {
    const ratio = median(rounds.map((round) => of(round) / round.plain));
    return `${ratio < 10 ? ratio.toFixed(1) : count(ratio)} ×`;
  };
  const spinCells = (): Cell[] => {
    if (spin === null) return ['–', '–', '–'];
    const ms = median(rounds.map((round) => round.spin?.ms ?? NaN));
    const states = rounded(spin.states);
    if (!spin.isComplete) return [`over ${states}`, `gave up after ${seconds(ms)}`, '–'];
    return [states, seconds(ms), times((round) => round.spin?.ms ?? NaN)];
  };
  const fastCheck = median(rounds.map((round) => round.fastCheck ?? NaN));
  return [
    name,
    count(executions),
    seconds(plain),
    seconds(median(rounds.map((round) => round.watched))),
    ...spinCells(),
    seconds(fastCheck),
    times((round) => round.fastCheck ?? NaN),
  ];
}

async function measurePeer(name: string, peer: Peer, options: BenchOptions): Promise<Cell[]> {
  const first = await oneRound(name, peer);
  const total = first.plain + first.watched + (first.spin?.ms ?? 0);
  if (total > MS_TO_REPEAT_MAX) return row(name, [first]);
  // The first one was for warming up.
  const rounds: Round[] = [];
  for (let at = 0; at < options.rounds; at += 1) rounds.push(await oneRound(name, peer));
  return row(name, rounds);
}

export const peers: Suite = {
  name: 'peers',
  async run(options) {
    const version = spinVersion();
    if (version === null) {
      options.progress(
        'SPIN is left out: there is no spin or no cc (Debian: apt-get install spin gcc)',
      );
    }
    const all = await contestants();
    const best = all.some(({ name }) => name === 'optimal') ? 'optimal' : 'source';
    const explorers = all.filter(({ name }) => name === best || name === `${best}+detectors`);
    const rows: Cell[][] = [];
    for (const name of measured(options.match)) {
      options.progress(name);
      const model = version === null ? null : promelaOf(name);
      const spin = model === null ? null : new SpinVerifier(model);
      try {
        rows.push(await measurePeer(name, { spin, explorers }, options));
      } finally {
        spin?.dispose();
      }
    }
    const head = [
      'program',
      'classes',
      `mmulab (${best})`,
      '+detectors',
      'SPIN states',
      'SPIN',
      '×',
      'fast-check',
      '×',
    ];
    return `${TEXT}\n\n${table(head, rows)}`;
  },
};

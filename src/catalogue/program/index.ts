/**
 * The acceptance programs by name: `program/probe`, `program/lockinc-7`. Those with a number at the
 * end exist for every number up to the family's limit, which is where the engine's tasks run out (or,
 * for `filesystem`, the blocks).
 */
import { TASK_COUNT_MAX } from '../../base/limits.ts';
import { UsageError } from '../../base/usage-error.ts';
import type { AnyScenario, Scenario } from '../../check/scenario.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { abBa } from './ab-ba.ts';
import { aincVoid } from './ainc-void.ts';
import { ainc } from './ainc.ts';
import { BLOCK_COUNT, filesystem } from './filesystem.ts';
import { indexer } from './indexer.ts';
import { lastzero } from './lastzero.ts';
import { lockinc } from './lockinc.ts';
import { lostUpdate } from './lost-update.ts';
import { probe } from './probe.ts';
import { readers } from './readers.ts';
import { refcount } from './refcount.ts';
import { storeBuffering } from './store-buffering.ts';

/** A program, or all programs that differ only in a number. */
export interface ProgramFamily {
  /** `program/lockinc`; the number, if there is one, follows after a hyphen. */
  readonly name: string;
  /** The numbers it exists for, or null for a single program. */
  readonly counts: { readonly min: number; readonly max: number } | null;
  /** One line for `list`. */
  readonly about: string;
  /** How many traces are known to exist, by number; by 0 for a single program. */
  readonly traces: Readonly<Record<number, number>>;
  /** The program with the given number, which must be one of `counts`. */
  readonly make: (count: number) => AnyScenario;
}

/** A scenario whose state is of any type: only who made it knows. */
function hidden<S>(scenario: Scenario<Kernel, S>): AnyScenario {
  return scenario as unknown as AnyScenario;
}

function single<S>(scenario: Scenario<Kernel, S>, traces: number): ProgramFamily {
  return {
    name: scenario.name,
    counts: null,
    about: scenario.about ?? '',
    traces: { 0: traces },
    make: () => hidden(scenario),
  };
}

/** `others` is the number of tasks besides the `count` ones. */
function family<S>(
  make: (count: number) => Scenario<Kernel, S>,
  about: string,
  limits: { readonly others?: number; readonly max?: number },
  traces: Readonly<Record<number, number>>,
): ProgramFamily {
  const max = Math.min(TASK_COUNT_MAX - (limits.others ?? 0), limits.max ?? Infinity);
  return {
    name: make(1).name.replace(/-1$/, ''),
    counts: { min: 1, max },
    about,
    traces,
    make: (count) => hidden(make(count)),
  };
}

const FACTORIALS = { 2: 2, 3: 6, 4: 24, 5: 120, 6: 720, 7: 5040, 8: 40_320, 9: 362_880 };
const POWERS_OF_TWO = { 2: 4, 3: 8, 4: 16, 5: 32, 6: 64, 7: 128, 8: 256, 13: 8192 };

/** All acceptance programs, for `list` and for tests. */
export const PROGRAMS: readonly ProgramFamily[] = [
  single(probe, 2),
  single(lostUpdate, 4),
  single(storeBuffering, 3),
  single(abBa, 3),
  family(lockinc, 'N tasks increment a counter under a mutex: N! traces', {}, FACTORIALS),
  family(ainc, 'N tasks increment an atomic counter and see its value: N! traces', {}, FACTORIALS),
  family(
    aincVoid,
    'N tasks increment an atomic counter whose value nobody sees: 1 trace',
    {},
    { 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1 },
  ),
  family(
    readers,
    'one writer and N readers of one place: 2^N traces',
    { others: 1 },
    POWERS_OF_TWO,
  ),
  family(
    lastzero,
    'a reader looks for the last zero of an array that N writers fill',
    { others: 1 },
    { 5: 64, 10: 3328, 15: 147_456 },
  ),
  family(
    indexer,
    'N tasks insert four values each into a hash table without locks',
    {},
    { 11: 1, 12: 8, 15: 4096 },
  ),
  family(
    filesystem,
    'N tasks give blocks to inodes: 2^(N - 13) traces from 13 on',
    { max: BLOCK_COUNT },
    { 13: 1, 14: 2, 15: 4, 16: 8, 17: 16, 18: 32 },
  ),
  family(
    refcount,
    'an owner drops its reference, N users take one each if it is not too late',
    { others: 1 },
    { 1: 3, 2: 26, 3: 522, 4: 19_032 },
  ),
];

/**
 * The acceptance program of that name, or null if there is none.
 *
 * @throws UsageError MN101 for a number that the family does not go up to.
 */
export function findProgram(name: string): AnyScenario | null {
  for (const { name: base, counts, make } of PROGRAMS) {
    if (counts === null) {
      if (name === base) return make(0);
      continue;
    }
    const suffix = name.startsWith(`${base}-`) ? name.slice(base.length + 1) : '';
    if (!/^\d{1,9}$/.test(suffix)) continue;
    const count = Number(suffix);
    if (count < counts.min || count > counts.max) {
      throw new UsageError(
        'MN101',
        `there is no scenario '${name}': the number of ${base}-N goes from ${counts.min} to ${counts.max}`,
      );
    }
    return make(count);
  }
  return null;
}

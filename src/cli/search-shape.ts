/**
 * Whether what was read from a file is a saved search: every list, number and name of it. Files come from
 * anywhere, and what is not as it should be must be refused here and not be met in the middle of a search.
 */
import { STEP_COUNT_MAX_DEFAULT, TASK_COUNT_MAX } from '../base/limits.ts';

/** What is wrong with a value, by where it is; null if nothing is. */
export type Check = (value: unknown, at: string) => string | null;

export function number(min = 0, max = Number.MAX_SAFE_INTEGER): Check {
  return (value, at) => {
    const isFine =
      Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
    return isFine ? null : `${at} is no whole number from ${min} to ${max}`;
  };
}

export const text: Check = (value, at) => {
  if (typeof value !== 'string') return `${at} is no text`;
  return /\p{Cc}/u.test(value) ? `${at} has control characters` : null;
};

export const flag: Check = (value, at) =>
  typeof value === 'boolean' ? null : `${at} is neither true nor false`;

export function orNull(check: Check): Check {
  return (value, at) => (value === null ? null : check(value, at));
}

export function listOf(check: Check): Check {
  return (value, at) => {
    if (!Array.isArray(value)) return `${at} is no list`;
    for (const [index, item] of value.entries()) {
      const problem = check(item, `${at}[${index}]`);
      if (problem !== null) return problem;
    }
    return null;
  };
}

export function tuple(...checks: readonly Check[]): Check {
  return (value, at) => {
    if (!Array.isArray(value) || value.length !== checks.length) {
      return `${at} is no list of ${checks.length}`;
    }
    for (const [index, check] of checks.entries()) {
      const problem = check(value[index], `${at}[${index}]`);
      if (problem !== null) return problem;
    }
    return null;
  };
}

/** An object with these keys and no others; keys that end in `?` may be left out. */
export function shape(keys: Readonly<Record<string, Check>>): Check {
  return (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return `${at} is no object`;
    }
    const given = value as Readonly<Record<string, unknown>>;
    for (const key of Object.keys(given)) {
      if (!Object.hasOwn(keys, key) && !Object.hasOwn(keys, `${key}?`)) return `${at} has '${key}'`;
    }
    for (const [name, check] of Object.entries(keys)) {
      const key = name.replace(/\?$/, '');
      if (!Object.hasOwn(given, key)) {
        if (key === name) return `${at} lacks '${key}'`;
        continue;
      }
      const problem = check(given[key], `${at}.${key}`);
      if (problem !== null) return problem;
    }
    return null;
  };
}

/** What `check` says, and then what `also` says of a value that is as it should be. */
function both(check: Check, also: (value: never, at: string) => string | null): Check {
  return (value, at) => check(value, at) ?? also(value as never, at);
}

const count = number();
const footprint = listOf(number(0, 2 ** 32 - 1));
const taskName = both(listOf(number(0, TASK_COUNT_MAX)), (value: readonly number[], at) =>
  value.length > 0 && value.length <= TASK_COUNT_MAX ? null : `${at} names no task`,
);

const branch: Check = tuple(taskName, count, orNull(footprint), number(0, 7), (value, at) =>
  at.length > NESTED_TEXT_MAX ? 'branches are nested too deeply' : listOf(branch)(value, at),
);
/** `[4][0]` for each level: more levels than an execution has steps. */
const NESTED_TEXT_MAX = 6 * 2000;

const schedule: Check = both(
  shape({
    tasks: listOf(number(0, TASK_COUNT_MAX)),
    outcomes: listOf(count),
    'earlier?': (value, at) => listOf(schedule)(value, at),
  }),
  (value: { tasks: readonly number[]; outcomes: readonly number[] }, at) => {
    if (value.tasks.length !== value.outcomes.length) return `${at} has outcomes of other steps`;
    return value.tasks.length > 100 * STEP_COUNT_MAX_DEFAULT ? `${at} is too long` : null;
  },
);

const node = shape({ tree: listOf(branch), sleep: listOf(branch), doneCount: count });

interface SearchLike {
  readonly path: { readonly tasks: readonly number[] };
  readonly floor: number;
  readonly nodes: readonly { readonly tree: readonly unknown[] }[];
  readonly isRun: boolean;
  readonly isOver: boolean;
}

const search: Check = both(
  shape({
    path: schedule,
    floor: count,
    nodes: listOf(node),
    isRun: flag,
    isOver: flag,
    isExact: flag,
    executions: count,
    blocked: count,
    steps: count,
    plannedLimit: count,
    plannedLeft: number(-Number.MAX_SAFE_INTEGER),
    plannedCountMax: count,
  }),
  ({ path, floor, nodes, isRun, isOver }: SearchLike, at) => {
    if (isOver) return null;
    const length = path.tasks.length;
    const isFine = nodes.length === length || (!isRun && nodes.length === length + 1);
    if (!isFine || floor > nodes.length) return `${at} has nodes that do not fit its path`;
    return nodes.every(({ tree }) => tree.length > 0) ? null : `${at} has an empty node`;
  },
);

const finding = { kind: text, object: text, message: text, places: tuple(text, text) };

const summary = shape({
  goals: listOf(text),
  found: listOf(shape({ identity: text, attempts: count, schedule })),
  suspicions: listOf(shape(finding)),
  unordered: listOf(text),
  learned: listOf(schedule),
  givenUp: orNull(count),
  hasCut: flag,
  example: orNull(shape({ goals: count, schedule })),
});

const figures = { executions: count, blocked: count, steps: count };

const tree = shape({
  nodes: listOf(
    shape({
      path: schedule,
      sleep: listOf(branch),
      taken: listOf(tuple(number(0, TASK_COUNT_MAX), branch)),
      pending: listOf(branch),
      isExpanded: flag,
    }),
  ),
  jobs: listOf(search),
});

/** Who is to be tried at a step, and who was: a bit for each task. */
const masks = tuple(number(0, 2 ** TASK_COUNT_MAX - 1), number(0, 2 ** TASK_COUNT_MAX - 1));

const boundedSearch: Check = both(
  shape({
    path: schedule,
    nodes: listOf(masks),
    isOver: flag,
    wasCut: flag,
    executions: count,
    steps: count,
  }),
  ({ path, nodes }: { path: { tasks: readonly number[] }; nodes: readonly unknown[] }, at) =>
    nodes.length === path.tasks.length ? null : `${at} has nodes that do not fit its path`,
);

const bounds = shape({
  bound: count,
  isEnough: flag,
  rounds: listOf(shape({ preemptions: count, executions: count, isComplete: flag })),
  done: shape({ executions: count, steps: count }),
  search: boundedSearch,
});

const everything = shape({ tree, done: shape(figures), isParted: flag });

const round: Check = (value, at) => {
  const isBounded = typeof value === 'object' && value !== null && 'bound' in value;
  return (isBounded ? bounds : everything)(value, at);
};

const savedVariant = shape({
  visibleMemory: listOf(text),
  round,
  summary,
  result: shape({ ...figures, isComplete: flag }),
});

const target: Check = (value, at) => {
  const { kind } = (value ?? {}) as { readonly kind?: unknown };
  if (kind === 'catalogue') return shape({ kind: text })(value, at);
  if (kind === 'file') return shape({ kind: text, path: text })(value, at);
  if (kind === 'scenario') return shape({ kind: text, name: text })(value, at);
  return `${at} is nothing that can be checked`;
};

/** A whole file. */
export const searchFile: Check = shape({
  target,
  variant: orNull(text),
  stepCountMax: orNull(count),
  preemptions: orNull(count),
  shortest: flag,
  shard: orNull(
    both(shape({ index: count, count: number(1) }), (value: { index: number; count: number }, at) =>
      value.index < value.count ? null : `${at} is none of its parts`,
    ),
  ),
  entries: listOf(
    shape({ scenario: text, variant: text, fingerprint: text, isOver: flag, saved: savedVariant }),
  ),
});

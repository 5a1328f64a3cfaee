/** What TypeScript would have said about a scenario, for files that nobody type-checked. */
import { FINDING_KINDS } from '../kernel/finding.ts';
import { NO_FAULTS } from '../kernel/kernel.ts';
import { suggestion } from './nearest.ts';

type Unknown = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** One sentence that says what is wrong with the definition of a scenario, or null. */
export function scenarioProblem(scenario: object): string | null {
  const { name, variants, setup, tasks, goals, finally: after } = scenario as Unknown;
  if (typeof name !== 'string' || name === '') return `a scenario needs a 'name', a text`;
  const problem = (text: string): string => `scenario '${name}': ${text}`;
  if (!isObject(variants) || Object.keys(variants).length === 0) {
    return problem(`'variants' must have at least one, like { mine: {} }`);
  }
  if (typeof setup !== 'function') return problem(`'setup' must be a function`);
  if (!isObject(tasks) || Object.keys(tasks).length === 0) {
    return problem(`'tasks' must have at least one, like { open: { *run(state) { … } } }`);
  }
  for (const [task, definition] of Object.entries(tasks)) {
    const run = isObject(definition) ? definition['run'] : undefined;
    if (typeof run !== 'function') return problem(`task '${task}' has no 'run'`);
    if (run.constructor.name !== 'GeneratorFunction') {
      return problem(`'run' of task '${task}' must be a generator; write '*run(state) { … }'`);
    }
  }
  const misspelt = misspeltWord(scenario as Unknown);
  if (misspelt !== null) return problem(misspelt);
  const unlike = unlikeTasks(tasks, (scenario as Unknown)['interchangeable']);
  if (unlike !== null) return problem(unlike);
  if (goals !== undefined && !Array.isArray(goals)) return problem(`'goals' must be a list`);
  if (after !== undefined && typeof after !== 'function') {
    return problem(`'finally' must be a function`);
  }
  return null;
}

const KEYS = {
  scenario: [
    'name',
    'models',
    'about',
    'variants',
    'faults',
    'setup',
    'tasks',
    'goals',
    'finally',
    'boot',
    'preemptions',
    'interchangeable',
  ],
  variant: ['expect', 'alsoKnown', 'about', 'preemptions'],
  expectation: ['verdict', 'kind', 'object', 'invariant'],
  task: ['cpu', 'kind', 'run'],
  goal: ['name', 'calls'],
} as const;
const VERDICTS = ['violation', 'clean', 'bounded', 'vacuous'];

/** A word that would silently mean nothing: then a clean verdict would be about something else. */
function misspeltWord(scenario: Unknown): string | null {
  const { variants, tasks, goals, faults = {} } = scenario as Record<string, Unknown>;
  const found = [
    unknownKey('the scenario', scenario, KEYS.scenario),
    unknownKey(`'faults'`, faults, Object.keys(NO_FAULTS)),
    wrongCount(faults),
    wrongBound('the scenario', scenario),
    ...Object.entries(variants ?? {}).map(([name, variant]) => variantProblem(name, variant)),
    ...Object.entries(tasks ?? {}).map(([name, task]) =>
      unknownKey(`task '${name}'`, task, KEYS.task),
    ),
    ...(Array.isArray(goals) ? goals : []).map((goal: unknown) =>
      typeof goal === 'string' ? null : unknownKey('a goal', goal, KEYS.goal),
    ),
  ];
  return found.find((text) => text !== null) ?? null;
}

function variantProblem(name: string, variant: unknown): string | null {
  const where = `variant '${name}'`;
  const unknown = unknownKey(where, variant, KEYS.variant);
  const expect = isObject(variant) ? variant['expect'] : undefined;
  const problem = unknown ?? wrongBound(where, variant);
  if (problem !== null || expect === undefined) return problem;
  const { verdict, kind } = (isObject(expect) ? expect : {}) as Unknown;
  return (
    unknownKey(`'expect' of ${where}`, expect, KEYS.expectation) ??
    wrongWord(`the verdict that ${where} expects`, verdict, VERDICTS) ??
    (kind === undefined ? null : wrongWord(`the kind that ${where} expects`, kind, FINDING_KINDS))
  );
}

/** Tasks that are said to be interchangeable and are not. */
function unlikeTasks(tasks: Unknown, groups: unknown): string | null {
  if (groups === undefined) return null;
  const isList = Array.isArray(groups) && groups.every((group) => Array.isArray(group));
  if (!isList) return `'interchangeable' must be a list of lists of task names`;
  const seen = new Set<unknown>();
  for (const group of groups as unknown[][]) {
    const [first] = group;
    for (const name of group) {
      if (seen.has(name)) return `'interchangeable' has task '${String(name)}' twice`;
      seen.add(name);
      const task = tasks[String(name)] as Unknown | undefined;
      if (task === undefined) {
        return `'interchangeable' names '${String(name)}', which is no task.${suggestion(String(name), Object.keys(tasks))}`;
      }
      const model = tasks[String(first)] as Unknown;
      const isLike = task['run'] === model['run'] && task['kind'] === model['kind'];
      if (!isLike || task['cpu'] !== undefined) {
        return `'${String(first)}' and '${String(name)}' are not interchangeable: their 'run' must be the same function, their 'kind' the same, and none may have a 'cpu'`;
      }
    }
  }
  return null;
}

function unknownKey(where: string, value: unknown, known: readonly string[]): string | null {
  if (!isObject(value)) return `${where} must be an object with ${known.join(', ')}`;
  const key = Object.keys(value).find((one) => !known.includes(one));
  return key === undefined ? null : `${where} has no '${key}'.${suggestion(key, known)}`;
}

function wrongWord(what: string, value: unknown, known: readonly string[]): string | null {
  if (known.includes(value as string)) return null;
  return `${what} is '${String(value)}'; it can be ${known.join(', ')}`;
}

function wrongCount(faults: Unknown): string | null {
  for (const [name, count] of Object.entries(isObject(faults) ? faults : {})) {
    if (Number.isInteger(count) && (count as number) >= 0) continue;
    return `'faults.${name}' is '${String(count)}'; it must be a number, 0 or more`;
  }
  return null;
}

function wrongBound(where: string, value: unknown): string | null {
  const count = isObject(value) ? value['preemptions'] : undefined;
  if (count === undefined || (Number.isInteger(count) && (count as number) >= 0)) return null;
  return `'preemptions' of ${where} is ${JSON.stringify(count)}; it must be a number, 0 or more`;
}

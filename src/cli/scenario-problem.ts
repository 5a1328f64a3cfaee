/** What TypeScript would have said about a scenario, for files that nobody type-checked. */

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
  if (goals !== undefined && !Array.isArray(goals)) return problem(`'goals' must be a list`);
  if (after !== undefined && typeof after !== 'function') {
    return problem(`'finally' must be a function`);
  }
  return null;
}

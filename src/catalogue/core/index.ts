/** The scenarios of the notifier core. */
import type { AnyScenario } from '../../check/scenario.ts';
import * as exit from './exit.ts';
import * as getPut from './get-put.ts';
import * as interval from './interval.ts';
import * as limits from './limits.ts';
import * as nonBlockable from './non-blockable.ts';
import * as pages from './pages.ts';

/** All of them: what each file exports is a scenario whose state only the file knows. */
export const CORE_SCENARIOS = [getPut, exit, limits, nonBlockable, interval, pages].flatMap(
  (file) => Object.values(file),
) as unknown as readonly AnyScenario[];

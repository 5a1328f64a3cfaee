/** The scenarios of the notifier core. */
import type { AnyScenario } from '../../check/scenario.ts';
import * as callback from './callback.ts';
import * as candidates from './candidates.ts';
import * as copyOnWrite from './copy-on-write.ts';
import * as emptyRange from './empty-range.ts';
import * as exit from './exit.ts';
import * as frames from './frames.ts';
import * as getPut from './get-put.ts';
import * as interval from './interval.ts';
import * as invalidatePage from './invalidate-page.ts';
import * as limits from './limits.ts';
import * as nonBlockable from './non-blockable.ts';
import * as pages from './pages.ts';
import * as unregister from './unregister.ts';
import * as wrongEnd from './wrong-end.ts';

const FILES = [
  getPut,
  exit,
  limits,
  nonBlockable,
  interval,
  pages,
  frames,
  invalidatePage,
  copyOnWrite,
  emptyRange,
  unregister,
  wrongEnd,
  candidates,
  callback,
] as const;

/** All of them: what each file exports is a scenario whose state only the file knows. */
export const CORE_SCENARIOS = FILES.flatMap((file) =>
  Object.values(file),
) as unknown as readonly AnyScenario[];

/**
 * Where a generator stands: V8's debugger knows, nothing else does. Used once, when an error is told
 * whose stack does not lead to the line that is wrong.
 */
import { Session } from 'node:inspector';
import type { Task } from '../kernel/task.ts';
import { isModelCode } from './place.ts';

const HANDLE = '__mmulabGenerator';

interface Location {
  readonly scriptId: string;
  readonly lineNumber: number;
  readonly columnNumber?: number;
}

/** `file:///…:line:column` of the innermost function of the task that is code under test, or null. */
export function generatorPlace(task: Task): string | null {
  const session = new Session();
  session.connect();
  try {
    const urls = new Map<string, string>();
    session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url));
    post(session, 'Debugger.enable', {});
    for (const frame of task.frames.toReversed()) {
      const at = locationOf(session, frame.generator);
      if (at === null) continue;
      const place = `${urls.get(at.scriptId) ?? ''}:${at.lineNumber + 1}:${(at.columnNumber ?? 0) + 1}`;
      if (isModelCode(place)) return place;
    }
    return null;
  } catch {
    // A Node without an inspector: the message goes without a place.
    return null;
  } finally {
    session.disconnect();
    Reflect.deleteProperty(globalThis, HANDLE);
  }
}

function locationOf(session: Session, generator: unknown): Location | null {
  Object.assign(globalThis, { [HANDLE]: generator });
  const { result } = post(session, 'Runtime.evaluate', { expression: `globalThis.${HANDLE}` }) as {
    result: { objectId: string };
  };
  const { objectId } = result;
  const { internalProperties } = post(session, 'Runtime.getProperties', {
    objectId,
    ownProperties: true,
  }) as { internalProperties?: { name: string; value?: { value?: unknown } }[] };
  const found = internalProperties?.find(({ name }) => name === '[[GeneratorLocation]]');
  return (found?.value?.value as Location | undefined) ?? null;
}

/** A session that inspects its own thread answers at once. */
function post(session: Session, method: string, params: object): unknown {
  let answer: unknown = null;
  session.post(method, params, (error: Error | null, result?: object) => {
    if (error !== null) throw error;
    answer = result;
  });
  return answer;
}

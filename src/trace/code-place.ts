/**
 * Where in the source something happened, read off a JavaScript stack.
 *
 * The engine resumes a generator by `generator.next()`, which V8 shows as a frame of its own:
 *
 *     at mutexLock (…/kernel/mutex.ts:151:10)
 *     at kfdOpen (…/drivers/amdkfd/kfd-process.ts:88:12)     <- the body: what we look for
 *     at kfdOpen.next (<anonymous>)
 *     at Kernel.resume (…/kernel/kernel.ts:480:39)
 *
 * Iterating over a list in a body puts more such pairs on top, of the kernel's own generators. So the
 * body is the innermost frame that lies directly above a `.next` and not in the kernel's folder; if
 * all of them do, it is a kernel function itself, and the innermost is the one.
 *
 * Simplified: only stacks as V8 prints them are understood. With others no place is known.
 */

const NEXT = /\.next \(<anonymous>\)$/;
/** The engine's method, whatever the class of the kernel is called. */
const RESUME = /\.resume \(/;

/** How many frames to keep while recording: drivers may call through helpers of their own. */
const STACK_FRAMES = 64;

/** A stack that is only turned into text when somebody asks: most are not asked for. */
export class CodeStack {
  readonly #error = new Error('place');
  readonly #fallback: CodeStack | null;
  #place: string | null | undefined = undefined;

  /** @param fallback what to take if no body is on the stack. */
  constructor(fallback: CodeStack | null = null) {
    this.#fallback = fallback;
  }

  /** `file:///…/kfd-process.ts:88:12`, or null if there is no body on the stack. */
  get place(): string | null {
    if (this.#place === undefined) {
      this.#place = bodyPlace(this.#error.stack ?? '') ?? this.#fallback?.place ?? null;
    }
    return this.#place;
  }
}

/** The location of the innermost body in a V8 stack, or null. */
export function bodyPlace(stack: string): string | null {
  const lines = stack.split('\n').filter((line) => line.trimStart().startsWith('at '));
  const engineAt = lines.findIndex(
    (line, at) => RESUME.test(line) && NEXT.test(lines[at - 1] ?? ''),
  );
  if (engineAt < 0) return null;
  const engine = folderOf(locationOf(lines[engineAt] as string));
  let innermost: string | null = null;
  for (let at = 1; at <= engineAt; at += 1) {
    if (!NEXT.test(lines[at] as string)) continue;
    const location = locationOf(lines[at - 1] as string);
    if (location === null) continue;
    if (folderOf(location) !== engine) return location;
    innermost ??= location;
  }
  return innermost;
}

/** `    at f (file:///a.ts:1:2)` and `    at file:///a.ts:1:2` → `file:///a.ts:1:2`. */
function locationOf(line: string): string | null {
  const match = /(?:\(|\bat (?:async )?)([^()]+:\d+:\d+)\)?$/.exec(line);
  return match === null ? null : (match[1] as string);
}

function folderOf(location: string | null): string | null {
  return location === null ? null : location.slice(0, location.lastIndexOf('/'));
}

/** V8's setting for the length of stacks, which no standard library declares. */
const settings = Error as unknown as { stackTraceLimit?: number };

/** Runs `action` with stacks long enough to find a body in. */
export function withLongStacks<T>(action: () => T): T {
  const before = settings.stackTraceLimit;
  settings.stackTraceLimit = STACK_FRAMES;
  try {
    return action();
  } finally {
    if (before === undefined) delete settings.stackTraceLimit;
    else settings.stackTraceLimit = before;
  }
}

/**
 * Finds out what a worker that gives no sign of life is doing: its debugger is asked, which can
 * interrupt a loop that nothing else can.
 *
 * Node lets a thread debug its workers through the `NodeWorker` domain of an inspector session: that
 * carries a second protocol, text inside messages, to the worker's own debugger.
 */
import { Session } from 'node:inspector/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { SIGHTING, type Sighting } from './lookout.ts';
import { isModelCode } from './place.ts';

export interface Hang {
  readonly sighting: Sighting | null;
  /** `file:///…:line:column` of the code that does not end, or null if none was met. */
  readonly place: string | null;
}

/** Pauses to take: the loop may be in a library function just then. */
const PAUSES_MAX = 200;
const PATIENCE_MS = 2_000;

interface Frame {
  readonly callFrameId: string;
  readonly location: { scriptId: string; lineNumber: number; columnNumber?: number };
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: unknown;
}

/** The debugger of one worker. */
class WorkerDebugger {
  private readonly session: Session;
  private readonly workerSession: string;
  private readonly waiting = new Map<number, (result: unknown) => void>();
  private readonly urls = new Map<string, string>();
  private onPaused: (frames: readonly Frame[]) => void = () => {};
  private lastId = 0;

  constructor(session: Session, workerSession: string) {
    this.session = session;
    this.workerSession = workerSession;
  }

  receive(text: string): void {
    const message = JSON.parse(text) as Message;
    if (message.id !== undefined) this.waiting.get(message.id)?.(message.result);
    const { params } = message;
    if (params === undefined) return;
    if (message.method === 'Debugger.scriptParsed') {
      this.urls.set(params['scriptId'] as string, params['url'] as string);
    }
    if (message.method === 'Debugger.paused') this.onPaused(params['callFrames'] as Frame[]);
  }

  send(method: string, params: object = {}): Promise<unknown> {
    this.lastId += 1;
    const id = this.lastId;
    const answer = new Promise((resolve) => {
      this.waiting.set(id, resolve);
    });
    void this.session.post('NodeWorker.sendMessageToWorker', {
      sessionId: this.workerSession,
      message: JSON.stringify({ id, method, params }),
    });
    return answer;
  }

  async pause(): Promise<readonly Frame[]> {
    const paused = new Promise<readonly Frame[]>((resolve) => {
      this.onPaused = resolve;
    });
    await this.send('Debugger.pause');
    return paused;
  }

  placeOf(frame: Frame): string {
    const { scriptId, lineNumber, columnNumber } = frame.location;
    return `${this.urls.get(scriptId) ?? ''}:${lineNumber + 1}:${(columnNumber ?? 0) + 1}`;
  }

  async evaluate(frame: Frame, expression: string): Promise<unknown> {
    const { callFrameId } = frame;
    const answer = await this.send('Debugger.evaluateOnCallFrame', {
      callFrameId,
      expression,
      returnByValue: true,
    });
    return (answer as { result?: { value?: unknown } } | undefined)?.result?.value;
  }
}

/** What the exploring worker of this thread is doing, or null if its debugger does not answer. */
export async function findHang(): Promise<Hang | null> {
  const session = new Session();
  session.connect();
  try {
    return await Promise.race([inspect(session), delay(PATIENCE_MS, null, { ref: false })]);
  } catch {
    return null;
  } finally {
    session.disconnect();
  }
}

async function inspect(session: Session): Promise<Hang> {
  const worker = await attach(session);
  await worker.send('Debugger.enable');
  let sighting: Sighting | null = null;
  let place: string | null = null;
  for (let pauses = 0; pauses < PAUSES_MAX && place === null; pauses += 1) {
    const frames = await worker.pause();
    const [top] = frames;
    if (top !== undefined && sighting === null) {
      const value = await worker.evaluate(top, `globalThis.${SIGHTING}?.()`);
      sighting = (value ?? null) as Sighting | null;
    }
    place = frames.map((frame) => worker.placeOf(frame)).find((at) => isModelCode(at)) ?? null;
    await worker.send('Debugger.resume');
  }
  // A worker that is being debugged cannot be terminated.
  await worker.send('Debugger.disable');
  await session.post('NodeWorker.disable');
  return { sighting, place };
}

async function attach(session: Session): Promise<WorkerDebugger> {
  let worker: WorkerDebugger | null = null;
  const attached = new Promise<WorkerDebugger>((resolve) => {
    session.on('NodeWorker.attachedToWorker', ({ params }) => {
      // Module hooks may have a thread of their own.
      if (!params.workerInfo.url.endsWith('/cli/worker.js')) return;
      worker = new WorkerDebugger(session, params.sessionId);
      resolve(worker);
    });
  });
  session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => {
    worker?.receive(params.message);
  });
  await session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  return attached;
}

/**
 * Runs a request in a worker and watches over it, so that nothing in a user's file can hang or crash
 * the command: a worker that gives no sign of life is asked what it is doing and ended, one that takes
 * too much memory is ended by Node, and signals end it after it has told what it knows.
 */
import { Worker } from 'node:worker_threads';
import { SILENCE_SECONDS_MAX, WORKER_MEBIBYTES_MAX } from '../base/limits.ts';
import type { FileCoverage, ReportedVariant } from '../report/reporter.ts';
import { Counters } from './counters.ts';
import type { Failure } from './error-text.ts';
import {
  EXIT_INTERNAL,
  EXIT_LIMIT,
  EXIT_SIGINT,
  EXIT_SIGTERM,
  EXIT_USAGE,
  worstExitCode,
} from './exit-code.ts';
import { findHang, type Hang } from './hang.ts';
import { ProgressLine, writeNote } from './output.ts';
import { progressText } from './progress.ts';
import { errorText, internalErrorText } from './error-text.ts';
import { resolvePlace, userPlace } from './place.ts';
import type { Message, Request, WorkerInput } from './protocol.ts';

const TICK_MS = 250;
/** How long a worker may take to tell what it knows, after a signal. */
const FAREWELL_MS = 2_000;

export interface Outcome {
  readonly exitCode: number;
  /** The parts of the JSON document. */
  readonly documents: readonly unknown[];
  /** What reporters are given. */
  readonly reports: readonly ReportedVariant[];
  readonly failures: readonly Failure[];
  readonly coverage: readonly FileCoverage[];
  readonly wasInterrupted: boolean;
}

export interface SuperviseOptions {
  /** When it aborts, the worker is ended without a word. */
  readonly signal?: AbortSignal | null;
  /** Tells how far the search has come also where stderr is no terminal. */
  readonly showsProgress?: boolean;
}

/** Runs `request`. `onText` gets what is to be printed, as it comes. */
export function runInWorker(
  request: Request,
  onText: (text: string) => void,
  { signal = null, showsProgress = false }: SuperviseOptions = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const progress = new ProgressLine(showsProgress);
    new Supervisor(request, onText, resolve, progress).start(signal);
  });
}

class Supervisor {
  private readonly request: Request;
  private readonly onText: (text: string) => void;
  private readonly onOutcome: (outcome: Outcome) => void;
  private readonly counters = new Counters();
  private readonly progress: ProgressLine;
  private readonly exitCodes: number[] = [];
  private readonly documents: unknown[] = [];
  private readonly reports: ReportedVariant[] = [];
  private readonly failures: Failure[] = [];
  private coverage: readonly FileCoverage[] = [];
  private startedAt = performance.now();
  private worker!: Worker;
  private ticker!: NodeJS.Timeout;
  private present = '';
  private isSearching = false;
  private stub: ReportedVariant | null = null;
  private lastBeats = 0;
  private silentTicks = 0;
  private isOver = false;
  private isDone = false;
  private wasInterrupted = false;

  constructor(
    request: Request,
    onText: (text: string) => void,
    onOutcome: (outcome: Outcome) => void,
    progress: ProgressLine,
  ) {
    this.request = request;
    this.onText = onText;
    this.onOutcome = onOutcome;
    this.progress = progress;
  }

  start(signal: AbortSignal | null): void {
    const input: WorkerInput = { request: this.request, counters: this.counters.buffer };
    const { request } = this;
    const isCounted = request.kind === 'check' && request.coverage;
    const file = isCounted ? './coverage-worker.js' : './worker.js';
    this.worker = new Worker(new URL(file, import.meta.url), {
      workerData: input,
      // What a user's file prints is no result.
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: WORKER_MEBIBYTES_MAX },
    });
    this.worker.stdout.on('data', (chunk: Buffer) => this.passOn(chunk));
    this.worker.stderr.on('data', (chunk: Buffer) => this.passOn(chunk));
    this.worker.on('message', (message: Message) => this.receive(message));
    this.worker.on('error', (error) => this.onError(error));
    this.worker.on('exit', () => this.onExit());
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    process.on('SIGINT', this.onSigint);
    process.on('SIGTERM', this.onSigterm);
    signal?.addEventListener('abort', () => {
      this.isOver = true;
      void this.worker.terminate();
    });
  }

  private readonly onSigint = (): void => this.interrupt(EXIT_SIGINT);
  private readonly onSigterm = (): void => this.interrupt(EXIT_SIGTERM);

  private passOn(chunk: Buffer): void {
    this.progress.clear();
    writeNote(chunk.toString().replace(/\n$/, ''));
  }

  private receive(message: Message): void {
    this.progress.clear();
    switch (message.kind) {
      case 'started':
        this.present = message.name;
        this.stub = message.stub;
        this.isSearching = true;
        this.startedAt = performance.now();
        break;
      case 'result':
        this.exitCodes.push(message.exitCode);
        this.documents.push(message.json);
        if (message.report !== null) this.reports.push(message.report);
        this.isSearching = false;
        this.stub = null;
        if (message.text !== '') this.onText(message.text);
        break;
      case 'coverage':
        this.coverage = message.files;
        break;
      case 'failed':
        this.fail(message.failure);
        break;
      case 'broken':
        this.exitCodes.push(EXIT_INTERNAL);
        writeNote(internalErrorText(message.text));
        break;
      case 'done':
        this.isDone = true;
        break;
    }
  }

  private fail(failure: Failure): void {
    this.exitCodes.push(EXIT_USAGE);
    this.failures.push(failure);
    this.isSearching = false;
    this.stub = null;
    writeNote(errorText(failure));
  }

  private onError(error: Error & { code?: string }): void {
    this.progress.clear();
    if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') {
      this.exitCodes.push(EXIT_LIMIT);
      if (this.stub !== null) {
        const { executions } = this.counters;
        this.reports.push({ ...this.stub, result: { ...this.stub.result, executions } });
      }
      writeNote(
        `mmulab: the search was ended: it took more than ${WORKER_MEBIBYTES_MAX} MiB of memory` +
          `${this.whereItWas()}. Use a smaller scenario, or a bound like --max-executions.`,
      );
      return;
    }
    const place = userPlace(error.stack ?? '');
    if (place === null) {
      this.exitCodes.push(EXIT_INTERNAL);
      writeNote(internalErrorText(error));
    } else {
      // Thrown out of a timer or a promise that nobody waits for.
      this.fail({ code: 'MN103', message: `the file threw ${String(error)}`, place });
    }
  }

  private whereItWas(): string {
    const count = this.counters.executions;
    return this.present === '' ? '' : `, in ${this.present} after ${count} executions`;
  }

  private onExit(): void {
    if (!this.isDone && !this.isOver && this.exitCodes.length === 0) {
      // Only process.exit ends a worker without a word.
      this.fail({
        code: 'MN103',
        message: `the file called process.exit()${this.whereItWas()}`,
        place: null,
      });
    }
    this.end();
  }

  private tick(): void {
    const { beats } = this.counters;
    this.silentTicks = beats === this.lastBeats ? this.silentTicks + 1 : 0;
    this.lastBeats = beats;
    // Ticks are counted, not time: while this process was stopped, so was the worker.
    if (this.silentTicks * TICK_MS >= silenceSecondsMax() * 1000) {
      this.silentTicks = 0;
      void this.endHang();
      return;
    }
    this.showProgress();
  }

  private showProgress(): void {
    if (!this.progress.isShown || !this.isSearching) return;
    const { executions, depth, remainingTold: remaining } = this.counters;
    // Told at the end of the next execution, for the next line.
    this.counters.askWhatRemains();
    if (executions === 0) return;
    const seconds = (performance.now() - this.startedAt) / 1000;
    this.progress.show(progressText({ name: this.present, executions, seconds, depth, remaining }));
  }

  private async endHang(): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.ticker);
    const hang = await findHang();
    const raw = hang?.place ?? null;
    this.progress.clear();
    this.fail({
      code: 'MN206',
      message: hangText(hang, this.request, this.whereItWas()),
      place: raw === null ? null : resolvePlace(raw),
    });
    await this.worker.terminate();
  }

  private interrupt(exitCode: number): void {
    if (this.isOver) {
      void this.worker.terminate();
      return;
    }
    this.isOver = true;
    this.wasInterrupted = true;
    this.exitCodes.push(exitCode);
    this.counters.askToStop();
    setTimeout(() => {
      void this.worker.terminate();
    }, FAREWELL_MS).unref();
  }

  /** The worker has told what it knew, or did not come to it. */
  private tellInterruption(): void {
    const { executions } = this.counters;
    const isUntold = this.stub !== null;
    if (this.stub !== null) {
      const bound = { kind: 'interrupted', limit: executions, isRequested: true } as const;
      this.reports.push({ ...this.stub, result: { ...this.stub.result, bound, executions } });
    }
    const reproach = isUntold ? '; there was no time to tell what had been found' : '';
    writeNote(`mmulab: interrupted${this.whereItWas()}${reproach}`);
  }

  private end(): void {
    clearInterval(this.ticker);
    this.progress.clear();
    process.off('SIGINT', this.onSigint);
    process.off('SIGTERM', this.onSigterm);
    if (this.wasInterrupted) this.tellInterruption();
    this.onOutcome({
      exitCode: worstExitCode(this.exitCodes),
      documents: this.documents,
      reports: this.reports,
      failures: this.failures,
      coverage: this.coverage,
      wasInterrupted: this.wasInterrupted,
    });
  }
}

/** Raised on machines that are so slow that plain code between two operations takes seconds. */
function silenceSecondsMax(): number {
  const given = Number(process.env['MMULAB_SILENCE_SECONDS']);
  return given > 0 ? given : SILENCE_SECONDS_MAX;
}

function hangText(hang: Hang | null, request: Request, where: string): string {
  const time = `${silenceSecondsMax()} s`;
  const advice = `A loop must contain a 'yield*'.`;
  if (hang === null) return `no operation was reached for ${time}${where}. ${advice}`;
  const { sighting, place } = hang;
  if (sighting === null || sighting.task === null) {
    const isFile = request.kind === 'check' && request.target.kind === 'file';
    const file = isFile ? request.target.path : 'the file';
    const what = place === null ? `loading ${file}` : 'what the file does when it is loaded';
    return `${what} did not end within ${time}`;
  }
  const { task, operation, function: innermost } = sighting;
  const who = task === 'setup' ? 'set-up' : `task '${task}'`;
  const inWhich = innermost === null || innermost === task ? '' : ` in ${innermost}()`;
  const last = operation === null ? '' : `; the last one was ${operation}`;
  return `${who} reached no operation for ${time}${inWhich}${last}. ${advice}`;
}

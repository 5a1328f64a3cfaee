/**
 * Helpers in threads of their own. Both sides explore without a break, so nobody has time for events:
 * messages are fetched when a bell has rung, a number in shared memory that is looked at after each run.
 *
 * A helper that says nothing any more, because it hangs, has crashed or met an error in the scenario, is
 * given up; the leader takes over its part and will see for itself.
 */
import {
  MessageChannel,
  receiveMessageOnPort,
  Worker,
  type MessagePort,
} from 'node:worker_threads';
import { SILENCE_SECONDS_MAX, WORKER_MEBIBYTES_MAX } from '../base/limits.ts';
import type { SearchTeam, Summary } from '../check/search-parts.ts';
import type { FromHelper, ToHelper } from '../check/team.ts';
import { Counters } from './counters.ts';
import type { Target } from './protocol.ts';

/** What helpers are to explore. */
export interface RoundOrder {
  readonly kind: 'round';
  readonly target: Target;
  readonly scenario: string;
  readonly variant: string;
  readonly stepCountMax: number | null;
  readonly doesBail: boolean;
  readonly visibleMemory: readonly string[];
  /** Counts rounds; what is said of an earlier one is not heard. */
  readonly round: number;
}

export type ToThread = RoundOrder | { readonly kind: 'say'; readonly message: ToHelper };

export type FromThread =
  | { readonly kind: 'ready'; readonly round: number }
  | {
      readonly kind: 'said';
      readonly round: number;
      readonly message: FromHelper;
      readonly summary: Summary | null;
    }
  | { readonly kind: 'failed'; readonly round: number };

export interface HelperInput {
  readonly port: MessagePort;
  readonly counters: SharedArrayBuffer;
  /** Cell 0 is the leader's bell, cell `number` the helper's. */
  readonly bells: SharedArrayBuffer;
  readonly number: number;
}

/** Rings a bell, and wakes who waits for it. */
export function ring(bells: Int32Array, cell: number): void {
  Atomics.add(bells, cell, 1);
  Atomics.notify(bells, cell);
}

const WAIT_MS = 20;

interface Member {
  readonly port: MessagePort;
  readonly worker: Worker;
  readonly counters: Counters;
  isReady: boolean;
  isLost: boolean;
  beats: number;
  beatAt: number;
}

export class ThreadTeam {
  readonly members: Member[] = [];
  private readonly bells: Int32Array;
  private readonly own: Counters;
  round = 0;
  private heard = 0;

  /** @param own where the leader gives its signs of life. */
  constructor(count: number, own: Counters) {
    this.own = own;
    const shared = new SharedArrayBuffer((count + 1) * Int32Array.BYTES_PER_ELEMENT);
    this.bells = new Int32Array(shared);
    for (let at = 0; at < count; at += 1) {
      const counters = new Counters();
      const { port1, port2 } = new MessageChannel();
      const input: HelperInput = {
        port: port2,
        counters: counters.buffer,
        bells: shared,
        number: at + 1,
      };
      const worker = new Worker(new URL('./helper-thread.js', import.meta.url), {
        workerData: input,
        transferList: [port2],
        // The leader runs the same code and lets it print.
        stdout: true,
        stderr: true,
        resourceLimits: { maxOldGenerationSizeMb: WORKER_MEBIBYTES_MAX },
      });
      // One that crashes is noticed by its silence.
      worker.on('error', () => {});
      worker.unref();
      port1.unref();
      this.members.push({
        port: port1,
        worker,
        counters,
        isReady: false,
        isLost: false,
        beats: 0,
        beatAt: performance.now(),
      });
    }
  }

  /** The team for one variant. */
  forVariant(order: Omit<RoundOrder, 'kind' | 'visibleMemory' | 'round'>): SearchTeam {
    return new VariantTeam(this, order);
  }

  /** Ends the threads. */
  end(): void {
    for (const { worker } of this.members) void worker.terminate();
  }

  /** Whether something was said since `hear`. */
  get hasRung(): boolean {
    return Atomics.load(this.bells, 0) !== this.heard;
  }

  hear(): void {
    this.heard = Atomics.load(this.bells, 0);
  }

  post(helper: number, message: ToThread): void {
    this.members[helper]?.port.postMessage(message);
    ring(this.bells, helper + 1);
  }

  wait(): void {
    Atomics.wait(this.bells, 0, this.heard, WAIT_MS);
    // While it waits, the leader is as alive as the others are.
    for (const member of this.members) {
      const { beats } = member.counters;
      if (beats === member.beats) continue;
      member.beats = beats;
      member.beatAt = performance.now();
      this.own.beat();
    }
  }

  isSilent(member: Member): boolean {
    const { beats } = member.counters;
    if (beats !== member.beats) {
      member.beats = beats;
      member.beatAt = performance.now();
    }
    return !member.isLost && member.isReady && this.isOverdue(member);
  }

  private isOverdue({ beatAt }: Member): boolean {
    return performance.now() - beatAt > SILENCE_SECONDS_MAX * 1000;
  }

  /** False if it was lost before. */
  lose(helper: number): boolean {
    const member = this.members[helper] as Member;
    if (member.isLost) return false;
    member.isLost = true;
    member.isReady = false;
    void member.worker.terminate();
    return true;
  }
}

/** The team while it explores one variant. */
class VariantTeam implements SearchTeam {
  private readonly threads: ThreadTeam;
  private readonly order: Omit<RoundOrder, 'kind' | 'visibleMemory' | 'round'>;
  private summaries: Summary[] = [];
  private readonly lost: number[] = [];
  private readonly waiting: { helper: number; message: FromHelper }[] = [];

  constructor(threads: ThreadTeam, order: VariantTeam['order']) {
    this.threads = threads;
    this.order = order;
  }

  get size(): number {
    return this.threads.members.length;
  }

  isReady(helper: number): boolean {
    return this.threads.members[helper]?.isReady === true;
  }

  beginRound(visibleMemory: readonly string[]): void {
    const { threads } = this;
    threads.round += 1;
    this.waiting.length = 0;
    this.summaries = [];
    for (const [at, member] of threads.members.entries()) {
      member.isReady = false;
      threads.post(at, { kind: 'round', ...this.order, visibleMemory, round: threads.round });
    }
  }

  send(helper: number, message: ToHelper): void {
    this.threads.post(helper, { kind: 'say', message });
  }

  receive(): { readonly helper: number; readonly message: FromHelper } | null {
    if (this.waiting.length === 0) this.fetch();
    return this.waiting.shift() ?? null;
  }

  get hasMessage(): boolean {
    return this.waiting.length > 0 || this.threads.hasRung;
  }

  wait(): void {
    this.threads.wait();
  }

  takeLost(): number | null {
    return this.lost.shift() ?? null;
  }

  takeSummaries(): readonly Summary[] {
    const taken = this.summaries;
    this.summaries = [];
    return taken;
  }

  private fetch(): void {
    const { threads } = this;
    threads.hear();
    for (const [helper, member] of threads.members.entries()) {
      for (;;) {
        const got = receiveMessageOnPort(member.port) as { message: FromThread } | undefined;
        if (got === undefined) break;
        this.take(helper, member, got.message);
      }
      if (threads.isSilent(member)) this.lose(helper);
    }
  }

  private take(helper: number, member: Member, message: FromThread): void {
    if (message.round !== this.threads.round) return;
    if (message.kind === 'ready') {
      member.isReady = true;
      member.beatAt = performance.now();
    } else if (message.kind === 'failed') {
      this.lose(helper);
    } else {
      this.waiting.push({ helper, message: message.message });
      if (message.summary !== null) this.summaries.push(message.summary);
    }
  }

  private lose(helper: number): void {
    if (this.threads.lose(helper)) this.lost.push(helper);
  }
}

/**
 * The operations of a grace-period domain, of which rcu.ts and srcu.ts make their functions;
 * grace-period.ts says what is modelled and why they conflict as they do.
 */
import {
  holdersOf,
  isOver,
  QueuedCallback,
  requireOver,
  type CallbackList,
  type GracePeriod,
  type GracePeriodDomain,
  type QueueRequest,
  type RcuCallback,
  type RcuHead,
} from './grace-period.ts';
import { touchMap } from './lock-map.ts';
import { textFootprint } from './module.ts';
import { access, COMMUTE, made, Operation, READ, WRITE, type Access } from './operation.ts';
import type { Body } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

/** An operation of a domain. */
export abstract class DomainOperation<R> extends Operation<R> {
  readonly domain: GracePeriodDomain;
  readonly label: string;

  constructor(domain: GracePeriodDomain, label: string) {
    super(domain.memory);
    this.domain = domain;
    this.label = label;
  }

  describe(_task: Task): string {
    return `${this.label}(${this.domain.argument})`;
  }

  /** True if it opens or closes a read section. */
  get isOfReader(): boolean {
    return false;
  }
}

/** Opens a read section. */
export class ReadLock extends DomainOperation<number> {
  override get isOfReader(): boolean {
    return true;
  }

  footprint(out: Access[], _task: Task): void {
    out.push(access(this.domain.enterVariable, COMMUTE));
  }

  perform(task: Task): number {
    return this.domain.enter(task).index;
  }
}

/** Closes a read section; the argument is its index. */
export class ReadUnlock extends DomainOperation<void> {
  override get isOfReader(): boolean {
    return true;
  }

  footprint(out: Access[]): void {
    out.push(access(this.domain.leaveVariable, COMMUTE));
  }

  perform(task: Task): void {
    const index = task.argument as number;
    let section = this.domain.sectionOf(task, index);
    if (section === null) {
      running.lockMisuse(
        this.domain.path,
        `${this.label} with the index ${index}, which no open read section of the task has`,
      );
      // One mistake, one finding: the section that was probably meant is left all the same.
      section = this.domain.sectionOf(task);
    }
    if (section !== null) this.domain.leave(section);
  }
}

/** The first half of synchronize; the argument is the callback list of the task's CPU. */
class StartGracePeriod extends DomainOperation<GracePeriod> {
  override readonly maySleep = true;

  constructor(domain: GracePeriodDomain) {
    super(domain, `synchronize_${domain.flavour}`);
  }

  footprint(out: Access[], task: Task): void {
    const list = task.argument as CallbackList;
    out.push(access(this.domain.enterVariable, READ), access(list.variable, READ));
  }

  perform(task: Task): GracePeriod {
    const { lockClass, path, flavour } = this.domain;
    if (flavour === 'srcu') touchMap(task, { path, lock: this.domain, lockClass });
    this.domain.noteStart(task);
    return this.domain.begin((task.argument as CallbackList).last);
  }

  override describe(task: Task): string {
    return `${super.describe(task)}: grace period starts`;
  }
}

/** Waits for what a grace period or barrier, the argument, waits for. */
class EndGracePeriod extends DomainOperation<void> {
  override readonly maySleep = true;

  override isEnabled(task: Task): boolean {
    return isOver(task.argument as GracePeriod);
  }

  footprint(out: Access[]): void {
    out.push(access(this.domain.leaveVariable, COMMUTE));
  }

  perform(task: Task): void {
    requireOver(task.argument as GracePeriod);
  }

  override describe(task: Task): string {
    return `${super.describe(task)}: ends`;
  }

  override blockers(task: Task): readonly Task[] {
    return holdersOf(task.argument as GracePeriod);
  }
}

/** call_srcu and the like; the argument is a {@link QueueRequest}. */
class QueueCallback extends DomainOperation<void> {
  constructor(domain: GracePeriodDomain) {
    super(domain, `call_${domain.flavour}`);
  }

  footprint(out: Access[], task: Task): void {
    const { head, list } = task.argument as QueueRequest;
    out.push(access(this.domain.enterVariable, READ), access(this.domain.queueVariable, COMMUTE));
    out.push(access(list.variable, WRITE), access(head.variable, WRITE));
  }

  perform(task: Task): void {
    const { domain } = this;
    const request = task.argument as QueueRequest;
    const { head, func, label, list } = request;
    running.touch(head.memory, head.path);
    if (domain.isCleanedUp) running.lockMisuse(domain.path, 'used after cleanup_srcu_struct');
    if (head.isQueued) {
      running.assertion('WARN_ON', `${label}: ${head.path} is queued already`);
      return;
    }
    head.isQueued = true;
    const callback = new QueuedCallback(request, domain.begin(list.last));
    list.last = callback;
    callback.task = running.spawn(
      `${domain.flavour}: ${func.callee.name}`,
      'callback',
      task.cpu.id,
      () => runCallback(domain, callback),
    );
  }

  override describe(task: Task): string {
    const { head, func, label } = task.argument as QueueRequest;
    const before = this.domain.argument === '' ? '' : `${this.domain.argument}, `;
    return `${label}(${before}&${head.path}, ${func.callee.name})`;
  }
}

function* runCallback(domain: GracePeriodDomain, callback: QueuedCallback): Body<void> {
  const { head, func } = yield* made(
    domain.operation('run', (at) => new RunCallback(at)),
    callback,
  );
  yield* func(head);
  yield* made(
    domain.operation('callbackEnd', (at) => new EndCallback(at)),
    callback,
  );
}

/** What a callback begins with: waits for its grace period and for those before it. */
class RunCallback extends DomainOperation<QueueRequest> {
  override readonly footprintVaries = true;
  constructor(domain: GracePeriodDomain) {
    super(domain, 'run');
  }

  override isEnabled(task: Task): boolean {
    return isOver((task.argument as QueuedCallback).period);
  }

  footprint(out: Access[], task: Task): void {
    const { request } = task.argument as QueuedCallback;
    out.push(access(this.domain.leaveVariable, COMMUTE));
    if (request === null) return;
    out.push(access(request.head.variable, WRITE));
    textFootprint(request.func.callee, out);
  }

  perform(task: Task): QueueRequest {
    const callback = task.argument as QueuedCallback;
    const request = callback.request as QueueRequest;
    running.requires(callback.queueStep);
    requireOver(callback.period);
    running.touch(request.head.memory, request.head.path);
    callback.hasStarted = true;
    callback.list.lastStarted = callback;
    callback.request = null;
    request.head.isQueued = false;
    return request;
  }

  override describe(task: Task): string {
    const { name, request } = task.argument as QueuedCallback;
    return request === null ? name : `${name}(&${request.head.path}) is run by ${this.domain.path}`;
  }

  override blockers(task: Task): readonly Task[] {
    return holdersOf((task.argument as QueuedCallback).period);
  }
}

/** Says that all the function did has been done; those who wait for it come after all of that. */
class EndCallback extends DomainOperation<void> {
  constructor(domain: GracePeriodDomain) {
    super(domain, 'end');
  }

  footprint(out: Access[]): void {
    // Ending only ever lets others go on; but the memory of the domain must still be there.
    out.push(access(this.domain.leaveVariable, COMMUTE));
  }

  perform(task: Task): void {
    const callback = task.argument as QueuedCallback;
    callback.isDone = true;
    callback.endStep = running.now;
  }

  override describe(task: Task): string {
    return `${(task.argument as QueuedCallback).name} is done`;
  }
}

class StartBarrier extends DomainOperation<GracePeriod> {
  override readonly maySleep = true;

  constructor(domain: GracePeriodDomain) {
    super(domain, `${domain.flavour}_barrier`);
  }

  footprint(out: Access[]): void {
    out.push(access(this.domain.queueVariable, READ));
  }

  perform(task: Task): GracePeriod {
    const { domain } = this;
    if (domain.sectionOf(task) !== null) {
      running.lockMisuse(
        domain.path,
        `${this.label} inside a read section of its own: callbacks may be waiting for that to end`,
      );
    }
    return { past: [], sections: [], callbacks: domain.lastCallbacks() };
  }

  override describe(task: Task): string {
    return `${super.describe(task)}: starts`;
  }
}

// ---- what RCU and SRCU make their functions of ------------------------------------------------------

/** Waits for a grace period. */
export function* synchronize(domain: GracePeriodDomain): Body<void> {
  const period = yield* made(
    domain.operation('start', (at) => new StartGracePeriod(at)),
    domain.listOf(running.currentTask),
  );
  yield* made(
    domain.operation('end', (at) => new EndGracePeriod(at, `synchronize_${at.flavour}`)),
    period,
  );
}

/** Waits for the callbacks that were queued before, on all CPUs. */
export function* barrier(domain: GracePeriodDomain): Body<void> {
  const period = yield* made(domain.operation('barrier', (at) => new StartBarrier(at)));
  yield* made(
    domain.operation('barrierEnd', (at) => new EndGracePeriod(at, `${at.flavour}_barrier`)),
    period,
  );
}

/** Queues `head` for `func`; `label` names the step. */
export function queueCallback(
  domain: GracePeriodDomain,
  head: RcuHead,
  func: RcuCallback,
  label: string,
): Operation<void> {
  const list = domain.listOf(running.currentTask);
  const request: QueueRequest = { head, func, label, list };
  return made(
    domain.operation('queue', (at) => new QueueCallback(at)),
    request,
  );
}

/**
 * The queue in which a device reports the addresses that it could not translate, and the answers.
 *
 *     device                                driver
 *     reportFault()                         nextFault()       one, or null
 *     awaitAnswer()                           maps the page, or does not
 *       ...                                 answerFault()
 *     tries again, or gives up
 *
 * Modelled: faults in order; the device stands still until its fault is answered. Whatever tells the driver to look
 * (an interrupt, a work item) is the driver's own. Simplified: the queue has room for all. Left out: overflow,
 * duplicates merged by hardware.
 *
 * Variables: reporting conflicts with looking, on the first. An answer is an order: nobody overtakes it.
 */
import { FieldSpec, KernelObject, type Placement } from '../kernel/memory.ts';
import { access, made, Operation, WRITE, type Access } from '../kernel/operation.ts';
import { running } from '../kernel/running.ts';
import type { Task } from '../kernel/task.ts';

/** A fault of a device: at `address` (bytes) of the address space `space`. */
export interface FaultRequest {
  readonly address: number;
  readonly isWrite: boolean;
  /** Which address space of the device, by whatever number the driver gave it. */
  readonly space: number;
}

/** A fault in the queue. The device keeps it until it is answered. */
export class DeviceFault {
  readonly request: FaultRequest;
  answer: number | null = null;
  answerStep = -1;

  constructor(request: FaultRequest) {
    this.request = request;
  }
}

/** A field of a struct declares one: {@link faultQueue}. */
export class FaultQueue extends KernelObject {
  /** Oldest first; raw. */
  readonly faults: DeviceFault[] = [];
  readonly report = new ReportFault(this);
  readonly next = new NextFault(this);
  readonly answer = new AnswerFault(this);
  readonly wait = new AwaitAnswer(this);
}

/** A field that is a queue of faults. */
export function faultQueue(): FieldSpec<FaultQueue> {
  return new FieldSpec(1, (at: Placement) => new FaultQueue(at));
}

abstract class FaultOperation<R> extends Operation<R> {
  protected readonly queue: FaultQueue;

  constructor(queue: FaultQueue) {
    super(queue.memory);
    this.queue = queue;
  }

  footprint(out: Access[]): void {
    out.push(access(this.queue.variable, WRITE));
  }
}

class ReportFault extends FaultOperation<DeviceFault> {
  perform(task: Task): DeviceFault {
    const fault = new DeviceFault(task.argument as FaultRequest);
    this.queue.faults.push(fault);
    return fault;
  }

  describe(task: Task): string {
    return `${this.queue.path}: reports a fault at ${addressOf(task.argument as FaultRequest)}`;
  }
}

class NextFault extends FaultOperation<DeviceFault | null> {
  perform(): DeviceFault | null {
    return this.queue.faults.shift() ?? null;
  }

  describe(): string {
    return `${this.queue.path}: takes the next fault`;
  }
}

class AnswerFault extends FaultOperation<void> {
  override footprint(): void {
    // Whoever waits for it comes after it.
  }

  perform(task: Task): void {
    const [fault, answer] = task.argument as [DeviceFault, number];
    fault.answer = answer;
    fault.answerStep = running.now;
  }

  describe(task: Task): string {
    const [{ request }, answer] = task.argument as [DeviceFault, number];
    return `${this.queue.path}: answers ${answer} for ${addressOf(request)}`;
  }
}

class AwaitAnswer extends FaultOperation<number> {
  override footprint(): void {
    // Only the answer of this fault matters.
  }

  override isEnabled(task: Task): boolean {
    return (task.argument as DeviceFault).answer !== null;
  }

  perform(task: Task): number {
    const { answer, answerStep } = task.argument as DeviceFault;
    running.requires(answerStep);
    return answer as number;
  }

  describe(task: Task): string {
    return `${this.queue.path}: waits for ${addressOf((task.argument as DeviceFault).request)}`;
  }
}

function addressOf({ address }: FaultRequest): string {
  return `0x${address.toString(16)}`;
}

/** The device reports a fault. Never sleeps. */
export function reportFault(queue: FaultQueue, request: FaultRequest): Operation<DeviceFault> {
  return made(queue.report, request);
}

/** The device stands still until the fault is answered, and gets the answer: 0 to try again, -errno to give up. */
export function awaitAnswer(queue: FaultQueue, fault: DeviceFault): Operation<number> {
  return made(queue.wait, fault);
}

/** The driver takes the oldest fault; null if there is none. Never sleeps. */
export function nextFault(queue: FaultQueue): Operation<DeviceFault | null> {
  return made(queue.next);
}

/** The driver answers a fault: 0 or -errno. Never sleeps. */
export function answerFault(
  queue: FaultQueue,
  fault: DeviceFault,
  answer: number,
): Operation<void> {
  return made(queue.answer, [fault, answer]);
}

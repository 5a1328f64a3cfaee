/**
 * lockdep: orders of locks that can deadlock, whether or not an execution does.
 *
 * Which lock was taken while which was held is remembered, by class, over all executions of a search. A
 * new edge that closes a cycle is a finding of the execution that closes it; so are two locks of one
 * class, one inside the other without a word about nesting, and locks that interrupt handlers take while
 * tasks hold them with interrupts on, be it directly or by way of other locks.
 *
 * Mirrored of Linux: a trylock comes after nothing, since it does not wait, but others come after it;
 * what lock-map.ts says is taken like a lock. Simplified: bottom halves and softirqs have no states of
 * their own, because they cannot be turned off here; a lock counts when it is got, not when it is asked
 * for, which a deadlock makes up for. Narrower: a handler that is bound to one CPU does not disturb who
 * is bound to another.
 *
 * Costs a few look-ups for each lock taken; stacks and schedules are kept of new edges only.
 */
import { stackNames, topFrame } from '../../kernel/held-lock.ts';
import { OWN_CPU_FIRST } from '../../kernel/cpu.ts';
import type { Finding, Report } from '../../kernel/finding.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { HeldLock, Task } from '../../kernel/task.ts';
import type { Schedule } from '../program.ts';
import type { Detector } from './detector.ts';
import {
  ANY_CPU,
  isRecursiveRead,
  kindOf,
  LockGraph,
  meeting,
  type Dependency,
  type LockNode,
  type Sighting,
} from './lock-graph.ts';
import { cycleReport, inconsistencyReport, inversionReport, recursionReport } from './lock-text.ts';

/** Finds orders of locks that can deadlock. */
export function lockOrder(): Detector {
  return new LockOrder();
}

const NONE: readonly Schedule[] = [];

interface Found {
  readonly finding: Finding;
  readonly schedule: Schedule;
}

class LockOrder implements Detector {
  scheduleSoFar: (() => Schedule) | null = null;
  private graph = new LockGraph();
  private reported = new Set<string>();
  private execution = 0;
  /** For its findings, what else has to be run before for them to be found. */
  private readonly earlier = new WeakMap<Finding, readonly Schedule[]>();

  /** Those of runs that were abandoned, and those of the present run. */
  private readonly lost: Found[] = [];
  private readonly fresh: Found[] = [];

  onForget(): void {
    this.graph = new LockGraph();
    this.reported = new Set();
  }

  onStart(): void {
    this.execution += 1;
    this.lost.push(...this.fresh);
    this.fresh.length = 0;
  }

  onEnd(): void {
    this.fresh.length = 0;
  }

  get unfinished(): readonly Found[] {
    return [...this.lost, ...this.fresh];
  }

  get learned(): readonly Schedule[] {
    const longest = new Map<number, Schedule>();
    for (const { execution, schedule } of this.graph.sightings()) {
      if (schedule !== null) keepLongest(longest, execution, schedule);
    }
    return [...longest.values()];
  }

  earlierOf(finding: Finding): readonly Schedule[] {
    return this.earlier.get(finding) ?? NONE;
  }

  onLockTaken(kernel: Kernel, task: Task, held: HeldLock): void {
    const node = this.graph.nodeOf(held);
    if (node.isLock) this.noteUse(kernel, task, node, held);
    if (held.isTry || isSerialised(task, held)) return;
    const { heldLocks, readSections, lockMaps } = task;
    for (let at = 0; at < heldLocks.length; at += 1) {
      this.depend(kernel, task, heldLocks[at] as HeldLock, held);
    }
    for (let at = 0; at < readSections.length; at += 1) {
      this.depend(kernel, task, readSections[at] as HeldLock, held);
    }
    for (let at = 0; at < lockMaps.length; at += 1) {
      this.depend(kernel, task, lockMaps[at] as HeldLock, held);
    }
  }

  onIrqsOnWithLocks(kernel: Kernel, task: Task): void {
    if (task.kind === 'interrupt') return;
    for (const held of task.heldLocks) {
      const node = this.graph.nodeOf(held);
      if (isKnown(node.withIrqsOn, cpuOf(task))) continue;
      const here = { step: kernel.now, frame: topFrame(task) };
      node.withIrqsOn.push(this.sighting(kernel, task, here));
      this.checkUses(kernel, node);
    }
  }

  // ---- order --------------------------------------------------------------------------------

  private depend(kernel: Kernel, task: Task, before: HeldLock, held: HeldLock): void {
    const from = this.graph.nodeOf(before);
    const to = this.graph.nodeOf(held);
    if (from === to) {
      const mayRecurse = isRecursiveRead(held) && before.mode === 'read';
      if (mayRecurse || to.isRecursionReported) return;
      to.isRecursionReported = true;
      const edge = this.edge(kernel, task, before, held);
      this.reportOnce(kernel, () => recursionReport(edge), [edge]);
      return;
    }
    if (from.known[to.id * 4 + kindOf(before, held)] !== undefined) return;
    const edge = this.edge(kernel, task, before, held);
    this.graph.add(edge);
    for (const cycle of this.graph.cyclesThrough(edge)) {
      this.reportOnce(kernel, () => cycleReport(cycle, this.execution), cycle);
    }
    for (const safe of this.graph.irqSafe) this.checkInversions(kernel, safe);
  }

  private edge(kernel: Kernel, task: Task, before: HeldLock, held: HeldLock): Dependency {
    return {
      from: this.graph.nodeOf(before),
      to: this.graph.nodeOf(held),
      isShared: before.mode === 'read',
      isRecursive: isRecursiveRead(held),
      takenMode: held.mode,
      paths: [before.path, held.path],
      held: this.sighting(kernel, task, before),
      taken: this.sighting(kernel, task, held),
    };
  }

  // ---- interrupts ---------------------------------------------------------------------------

  private noteUse(kernel: Kernel, task: Task, node: LockNode, held: HeldLock): void {
    if (task.kind === 'interrupt') {
      if (held.isTry || isKnown(node.inInterrupt, cpuOf(task))) return;
      if (node.inInterrupt.length === 0) this.graph.irqSafe.push(node);
      node.inInterrupt.push(this.sighting(kernel, task, held));
    } else {
      if (task.irqDisableCount > 0 || isKnown(node.withIrqsOn, cpuOf(task))) return;
      node.withIrqsOn.push(this.sighting(kernel, task, held));
    }
    this.checkUses(kernel, node);
  }

  /** Looks what a new use of `node` means. */
  private checkUses(kernel: Kernel, node: LockNode): void {
    const uses = meeting(node.inInterrupt, node.withIrqsOn);
    if (uses !== null) {
      this.reportOnce(kernel, () => inconsistencyReport(node, uses, this.execution), [], uses);
    }
    for (const safe of this.graph.irqSafe) this.checkInversions(kernel, safe);
  }

  private checkInversions(kernel: Kernel, safe: LockNode): void {
    for (const [unsafe, way] of this.graph.waysFrom(safe)) {
      if (!unsafe.isLock) continue;
      const uses = meeting(safe.inInterrupt, unsafe.withIrqsOn);
      if (uses === null) continue;
      this.reportOnce(kernel, () => inversionReport(way, uses, this.execution), way, uses);
    }
  }

  // ---- reporting ----------------------------------------------------------------------------

  private sighting(
    kernel: Kernel,
    task: Task,
    { step, frame }: Pick<HeldLock, 'step' | 'frame'>,
  ): Sighting {
    return {
      taskName: task.name,
      task: task.index,
      cpu: cpuOf(task),
      step,
      stack: stackNames(frame),
      execution: this.execution,
      schedule: kernel.stepCount === 0 ? null : (this.scheduleSoFar?.() ?? null),
    };
  }

  /** Reports what `write` says, unless that is known, with the steps and schedules it rests on. */
  private reportOnce(
    kernel: Kernel,
    write: () => Report,
    edges: readonly Dependency[] = [],
    uses: readonly Sighting[] = [],
  ): void {
    const report = write();
    const key = `${report.kind} ${report.object}`;
    if (this.reported.has(key)) return;
    this.reported.add(key);
    const witnesses = new Set<number>();
    const earlier = new Map<number, Schedule>();
    for (const sighting of [...edges.flatMap((edge) => [edge.held, edge.taken]), ...uses]) {
      const { execution, step, schedule } = sighting;
      if (step < 0) continue;
      if (execution === this.execution) witnesses.add(step);
      else if (schedule !== null) keepLongest(earlier, execution, schedule);
    }
    kernel.report({ ...report, place: '', witnesses: [...witnesses] });
    const finding = kernel.findings.at(-1) as Finding;
    this.earlier.set(finding, [...earlier.values()]);
    const schedule = kernel.stepCount === 0 ? null : (this.scheduleSoFar?.() ?? null);
    if (schedule !== null) this.fresh.push({ finding, schedule });
  }
}

function cpuOf({ cpu }: Task): number {
  return cpu.id < 0 || cpu.id >= OWN_CPU_FIRST ? ANY_CPU : cpu.id;
}

function isKnown(uses: readonly Sighting[], cpu: number): boolean {
  for (const use of uses) if (use.cpu === cpu) return true;
  return false;
}

/** Of several moments of one execution, what leads to the last leads to all. */
function keepLongest(
  schedules: Map<number, Schedule>,
  execution: number,
  schedule: Schedule,
): void {
  const known = schedules.get(execution);
  if (known !== undefined && known.tasks.length >= schedule.tasks.length) return;
  schedules.set(execution, schedule);
}

/** Whether the order among locks of this class is the business of another lock, which is held. */
function isSerialised(task: Task, held: HeldLock): boolean {
  const { nest, lockClass } = held;
  if (nest === null) return false;
  let isNestHeld = false;
  let isSecond = false;
  for (const other of task.heldLocks) {
    if (other.lock === nest) isNestHeld = true;
    else if (other.lockClass === lockClass) isSecond = true;
  }
  return isNestHeld && isSecond;
}

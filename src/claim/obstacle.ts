/**
 * Why a claim cannot be: the nearest execution is run once more, and what stands between the step that
 * should come next and those that came before it is told: a lock and who holds it, a reader that a grace
 * period waits for, a reference, the order of the program, or that the task takes another course.
 */
import { doConflict } from '../check/search-node.ts';
import type { Schedule } from '../check/program.ts';
import { setRunning } from '../kernel/running.ts';
import { nameOfOperation, type EventLog, type TaskEvents } from './event-log.ts';
import type { Chosen } from './match.ts';
import type { Nearest, Witness } from './found.ts';
import { Rerun } from './rerun.ts';
import type { Subject } from './subject.ts';

export type ReasonKind =
  | 'lock'
  | 'grace-period'
  | 'reference'
  | 'program-order'
  | 'wait'
  | 'start'
  | 'cpu'
  | 'value'
  | 'course'
  | 'blocked'
  | 'never';

/** One link of the explanation. */
export interface Reason {
  readonly kind: ReasonKind;
  /** The lock, the domain of the grace period, the counter; null where there is none. */
  readonly object: string | null;
  /** The task that holds it, is read by, or has to come first; null where there is none. */
  readonly holder: string | null;
  /** One sentence. */
  readonly text: string;
}

/** Where a claim parts from what is possible. */
export interface Obstacle {
  /** The step that cannot come there: its index. */
  readonly step: number;
  /** The step after which it cannot come; null if it does not occur at all. */
  readonly after: number | null;
  readonly reasons: readonly Reason[];
  /** The nearest execution, up to its end. */
  readonly schedule: Schedule | null;
}

/** What executions show of the step that cannot come where it stands. */
export interface Seen {
  /** Its column. */
  readonly label: string | null;
  /** An execution that has it, in whatever order. */
  readonly witness: Witness | null;
  /** What it gives where that is not what is claimed. */
  readonly otherOutcomes: readonly string[];
  /** Whether some execution ends in it. */
  readonly isEnd: boolean;
}

/** Why the nearest execution does not go on as the claim does. */
export function obstacleOf(subject: Subject, nearest: Nearest, seen: Seen): Obstacle {
  const { failure, schedule } = nearest;
  const rerun = new Rerun(subject, schedule);
  const base = { step: failure.atom, schedule };
  if (failure.kind === 'absent') {
    const reasons = [courseOf(subject, rerun, nearest, seen)];
    return { ...base, after: failure.atom === 0 ? null : failure.atom - 1, reasons };
  }
  const event = failure.event as Chosen;
  const after = failure.chosen.findIndex((one) => isInPast(rerun, event, one));
  const later = failure.chosen[after];
  if (later === undefined) return { ...base, after: null, reasons: [] };
  return { ...base, after, reasons: whyBefore(rerun, event, later) };
}

/** Whether `event` lies before `later`, in the order of the trace. */
function isInPast(rerun: Rerun, event: Chosen, later: Chosen): boolean {
  if (event.task === later.task) return event.at < later.at;
  const step = stepAtOrAfter(rerun.log, event);
  const last = rerun.log.tasks[later.task]?.steps[later.at] ?? -1;
  return step !== null && last >= 0 && (step === last || rerun.order.isBefore(step, last));
}

/** The step that an event is, or the first that its task takes after it. */
function stepAtOrAfter(log: EventLog, { task, at }: Chosen): number | null {
  const { steps, isPinned } = log.tasks[task] as TaskEvents;
  for (let next = at; next < steps.length; next += 1) {
    if (isPinned[next] === true) return steps[next] as number;
  }
  return null;
}

/** The links that lead from an event to another that must come later. */
function whyBefore(rerun: Rerun, event: Chosen, later: Chosen): Reason[] {
  const { log } = rerun;
  if (event.task === later.task) {
    const { task, ids } = log.tasks[event.task] as TaskEvents;
    const [one, other] = [event.at, later.at].map(
      (at) => log.table.sorts[ids[at] as number]?.text ?? '',
    );
    const text = `program order: task '${task.name}' does ${one} before ${other}`;
    return [{ kind: 'program-order', object: null, holder: task.name, text }];
  }
  const from = stepAtOrAfter(log, event) as number;
  const to = log.tasks[later.task]?.steps[later.at] as number;
  return linksBetween(rerun, from, to).map(([a, b, isAfter]) => linkText(rerun, a, b, isAfter));
}

type Link = readonly [from: number, to: number, isAfter: boolean];

/** The steps between tasks on the way from one step to a later one, with as few as can be. */
function linksBetween(rerun: Rerun, from: number, to: number): Link[] {
  const cost = new Map<number, number>([[from, 0]]);
  const best = new Map<number, Link | number>();
  const improve = (step: number, price: number, by: Link | number): void => {
    if (price >= (cost.get(step) ?? Infinity)) return;
    cost.set(step, price);
    best.set(step, by);
  };
  // Steps only lead to later ones, so their order is one in which all can be settled.
  for (let at = from; at < to; at += 1) {
    const price = cost.get(at);
    if (price === undefined) continue;
    const { task, footprint } = rerun.step(at);
    let isNext = true;
    for (let next = at + 1; next <= to; next += 1) {
      const other = rerun.step(next);
      if (other.task === task) {
        if (isNext) improve(next, price, at);
        isNext = false;
      } else if (other.after.includes(at) || isStart(rerun, at, next)) {
        improve(next, price + 1, [at, next, true]);
      } else if (doConflict(footprint, other.footprint)) {
        improve(next, price + priceOf(rerun.text(at), rerun.text(next)), [at, next, false]);
      }
    }
  }
  const links: Link[] = [];
  for (let at = to; at !== from;) {
    const by = best.get(at);
    if (by === undefined) break;
    if (typeof by !== 'number') links.unshift(by);
    at = typeof by === 'number' ? by : by[0];
  }
  return links;
}

/**
 * What a conflict costs as an explanation, where an order that cannot be turned round costs 1. That memory
 * is freed after its use is what is to be explained.
 */
function priceOf(a: string, b: string): number {
  const [one, other] = [nameOfOperation(a), nameOfOperation(b)];
  if (FREES.test(one) || FREES.test(other)) return 20;
  return COUNTER.test(one) && COUNTER.test(other) ? 1.5 : 5;
}

const FREES = /^(?:kfree|kfree_rcu|__free_page)$/;
const COUNTER = /^(?:atomic|refcount|kref)_\w+$/;

/** Whether `next` is the first step of a task that step `at` has started. */
function isStart(rerun: Rerun, at: number, next: number): boolean {
  const task = rerun.taskOf(next);
  return task.spawnedAt === at && task.firstStep === next;
}

function linkText(rerun: Rerun, from: number, to: number, isAfter: boolean): Reason {
  const [one, other] = [rerun.taskOf(from).name, rerun.taskOf(to).name];
  const [a, b] = [rerun.text(from), rerun.text(to)];
  if (isAfter) {
    const left = rerun.held[from] as readonly string[];
    const path = rerun.heldBefore(from).find((held) => !left.includes(held)) ?? null;
    const isOfGracePeriod = /^synchronize_|_barrier\(| is run by /.test(b);
    if (path !== null && isOfGracePeriod) {
      const since = rerun.text(rerun.heldSince(path, from));
      return {
        kind: 'grace-period',
        object: path,
        holder: one,
        text: `task '${other}': ${b} waits for the read section of ${path} that '${one}' is in from ${since} to ${a}`,
      };
    }
    if (path !== null) {
      const since = rerun.text(rerun.heldSince(path, from));
      const waits = /trylock/.test(nameOfOperation(b)) ? 'succeeds only after' : 'has to wait for';
      return {
        kind: 'lock',
        object: path,
        holder: one,
        text: `task '${one}' holds ${path} from ${since} to ${a}, and ${b} of '${other}' ${waits} it`,
      };
    }
    if (isStart(rerun, from, to)) {
      const text = `task '${other}' is started by ${a} of '${one}'`;
      return { kind: 'start', object: null, holder: one, text };
    }
    if (COUNTER.test(nameOfOperation(a)) && COUNTER.test(nameOfOperation(b))) {
      return conflictText({ one, other, a, b }, objectOf(b));
    }
    const kind = isOfGracePeriod ? 'grace-period' : 'wait';
    const text = `${b} of task '${other}' has to wait for ${a} of '${one}'`;
    return { kind, object: objectOf(a), holder: one, text };
  }
  return conflictText({ one, other, a, b }, objectOf(b) ?? objectOf(a));
}

interface Pair {
  readonly one: string;
  readonly other: string;
  readonly a: string;
  readonly b: string;
}

function conflictText({ one, other, a, b }: Pair, object: string | null): Reason {
  const isCounter = COUNTER.test(nameOfOperation(a)) && COUNTER.test(nameOfOperation(b));
  if (isCounter) {
    return {
      kind: 'reference',
      object,
      holder: one,
      text: `task '${one}' has a reference, counted by ${object}, until ${a}; what comes after ${b} of '${other}' is left to the last`,
    };
  }
  const text = `${b} of task '${other}' turns out as it does only after ${a} of '${one}'`;
  return { kind: 'value', object, holder: one, text };
}

/** `mutex_lock(&p.lock)` → `p.lock`. */
function objectOf(text: string): string | null {
  const match = /\(&?([\w.[\]]+)/.exec(text);
  return match === null ? null : (match[1] as string);
}

// ---- the task takes another course ------------------------------------------------------------------

interface Deed {
  readonly text: string;
  readonly result: string | null;
  readonly step: number;
}

function deedsOf({ log }: Rerun, task: number): Deed[] {
  const { ids, steps, isPinned } = log.tasks[task] as TaskEvents;
  return ids.flatMap((id, at) => {
    const sort = log.table.sorts[id];
    if (sort?.kind !== 'operation' || isPinned[at] !== true) return [];
    const step = steps[at] as number;
    return [{ text: sort.text, result: log.resultOf(step)?.text ?? null, step }];
  });
}

function courseOf(subject: Subject, rerun: Rerun, { failure }: Nearest, seen: Seen): Reason {
  const { witness, label } = seen;
  if (witness === null) return notSeen(seen);
  const column = [...failure.bound].find(
    ([, task]) => rerun.kernel.tasks[task]?.name === witness.task,
  );
  if (column !== undefined && column[0] !== label) {
    const text = `only task '${witness.task}' does that, which is ${column[0]} here`;
    return { kind: 'course', object: null, holder: witness.task, text };
  }
  const there = new Rerun(subject, witness.schedule);
  const here = rerun.log.tasks.find(({ task }) => task.name === witness.task);
  const other = there.log.tasks.find(({ task }) => task.name === witness.task);
  const { task: name } = witness;
  if (here === undefined || other === undefined) {
    const text = `task '${name}' is not started then`;
    return { kind: 'course', object: null, holder: name, text };
  }
  const mine = deedsOf(rerun, here.task.index);
  const theirs = deedsOf(there, other.task.index);
  for (const [at, deed] of mine.entries()) {
    const wanted = theirs[at];
    if (wanted === undefined) break;
    if (deed.text !== wanted.text) {
      const text = `task '${name}' does ${deed.text} where it would have to do ${wanted.text}`;
      return {
        kind: 'course',
        object: null,
        holder: name,
        text: text + cause(rerun, deed, failure),
      };
    }
    if (deed.result !== wanted.result) {
      return {
        kind: 'course',
        object: objectOf(deed.text),
        holder: name,
        text:
          `task '${name}' does it only where ${deed.text} gives ${wanted.result ?? 'nothing'}; here it gives ` +
          `${deed.result ?? 'nothing'}${cause(rerun, deed, failure)}`,
      };
    }
  }
  return blockedText(rerun, here);
}

/** No execution does it, in whatever order. */
function notSeen({ otherOutcomes, isEnd }: Seen): Reason {
  const base = { object: null, holder: null };
  if (isEnd) {
    const text = 'some executions end in that, but none that has the steps before it';
    return { ...base, kind: 'course', text };
  }
  if (otherOutcomes.length > 0) {
    const some = otherOutcomes.slice(0, OUTCOME_COUNT_MAX).join(' or ');
    const more = otherOutcomes.length > OUTCOME_COUNT_MAX ? ' or others' : '';
    const text = `in no execution does it give that, but ${some}${more}`;
    return { ...base, kind: 'value', text };
  }
  return { ...base, kind: 'never', text: 'no execution comes to that' };
}

/** As many outcomes are listed. */
const OUTCOME_COUNT_MAX = 4;

/** Who has made it come to that: the last step of another task that this one conflicts with. */
function cause(rerun: Rerun, { step }: Deed, { chosen }: Nearest['failure']): string {
  const { task, footprint } = rerun.step(step);
  for (let before = step - 1; before >= 0; before -= 1) {
    const other = rerun.step(before);
    if (other.task === task || !doConflict(footprint, other.footprint)) continue;
    const isClaimed = chosen.some(
      (one) => one.task === other.task && rerun.log.tasks[one.task]?.steps[one.at] === before,
    );
    const also = isClaimed ? ', as claimed' : '';
    return `, since ${rerun.text(before)} of ${rerun.taskOf(before).name} came before it${also}`;
  }
  return '';
}

/** The task does nothing else, but it does not come that far. */
function blockedText(rerun: Rerun, { task }: TaskEvents): Reason {
  const { name, pending } = task;
  if (pending === null) {
    const text = task.isOopsed
      ? `task '${name}' was ended by an oops before`
      : `task '${name}' has ended before it comes to that`;
    return { kind: 'course', object: null, holder: name, text };
  }
  const before = setRunning(rerun.kernel);
  try {
    const what = pending.describe(task);
    const holders = pending.blockers(task).map((one) => one.name);
    const who = holders.length === 0 ? '' : `, which ${holders.join(' and ')} keeps from happening`;
    const text = `task '${name}' waits for ever at ${what}${who}`;
    return { kind: 'blocked', object: objectOf(what), holder: holders[0] ?? null, text };
  } finally {
    setRunning(before);
  }
}

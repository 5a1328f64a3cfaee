/**
 * Deadlock: nothing can go on and not all have ended. Who waits for whom is asked of the operations
 * that are blocked. Each cycle is a finding, named by its locks; so is each wait that nobody can end
 * although it is on no cycle. Those who merely wait behind such a task are left out.
 *
 * The finding is the same wherever the cycle is entered and whichever of several equal tasks play
 * the parts: it starts at the function that comes first in the alphabet.
 */
import type { Kernel } from '../../kernel/kernel.ts';
import type { Task } from '../../kernel/task.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds executions that end with tasks blocked for ever. */
export function deadlock(): Watch {
  return { onStuck };
}

function onStuck(kernel: Kernel, blocked: readonly Task[]): void {
  const reported = new Set<string>();
  for (const task of blocked) {
    const cycle = shortestCycle(task);
    if (cycle === null) {
      if (waitsOnItsOwn(task)) reportWait(kernel, task);
      continue;
    }
    const key = cycle.map((party) => party.index).sort((a, b) => a - b);
    if (reported.has(key.join())) continue;
    reported.add(key.join());
    reportCycle(kernel, rotated(cycle));
  }
}

/** The shortest way from `task` along the waits back to it, or null. */
function shortestCycle(task: Task): Task[] | null {
  const cameFrom = new Map<Task, Task>();
  const open = [task];
  for (const from of open) {
    for (const to of blockersOf(from)) {
      if (to === task) return wayTo(from, task, cameFrom);
      if (cameFrom.has(to)) continue;
      cameFrom.set(to, from);
      open.push(to);
    }
  }
  return null;
}

function wayTo(end: Task, start: Task, cameFrom: ReadonlyMap<Task, Task>): Task[] {
  const way = [end];
  for (let at = end; at !== start;) {
    at = cameFrom.get(at) as Task;
    way.push(at);
  }
  return way.toReversed();
}

/**
 * Whether the wait is not merely one behind somebody else's. A daemon that waits for work does
 * nothing wrong; whoever waits for it does.
 */
function waitsOnItsOwn(task: Task): boolean {
  return blockersOf(task).every((other) => other.pending === null || other.kind === 'daemon');
}

function blockersOf(task: Task): readonly Task[] {
  if (task.pending === null) return [];
  const { cpu } = task;
  const holder = cpu.holders.at(-1);
  if (cpu.isShared && holder !== undefined && holder !== task) return [holder];
  return task.pending.blockers(task);
}

function rotated(cycle: readonly Task[]): readonly Task[] {
  let start = 0;
  for (let at = 1; at < cycle.length; at += 1) {
    if (nameOf(cycle[at] as Task) < nameOf(cycle[start] as Task)) start = at;
  }
  return [...cycle.slice(start), ...cycle.slice(0, start)];
}

function nameOf(task: Task): string {
  return `${task.functionName} ${resourceOf(task)}`;
}

/** What a blocked task waits for: the object of its operation, as the operation names it. */
function resourceOf(task: Task): string {
  const { cpu, pending } = task;
  if (pending === null) return '';
  if (cpu.isShared && cpu.excludes(task)) return `CPU ${cpu.id}`;
  const text = pending.describe(task);
  return (
    /\(&?([^,()]+)/.exec(text)?.[1] ??
    /: (\S+) is done$/.exec(text)?.[1] ??
    /^\w+/.exec(text)?.[0] ??
    text
  );
}

function reportCycle(kernel: Kernel, cycle: readonly Task[]): void {
  const [first, ...others] = cycle as [Task, ...Task[]];
  const resources = cycle.map((task) => resourceOf(task));
  const waits = cycle.map((task, at) => {
    const holder = cycle[(at + 1) % cycle.length] as Task;
    const resource = resources[at] as string;
    if (holder === task) return `waits for ${resource}, which it ${holds(task, resource)} itself`;
    return `waits for ${resource} ${isHeld(holder, resource)} by ${holder.name}`;
  });
  kernel.report({
    kind: 'deadlock',
    object: [...new Set(resources)].toSorted().join(', '),
    message: `${first.name} ${waits.join(', which ')}`,
    place: first.functionName,
    otherPlace: others.map((task) => task.functionName).join(', '),
    isGlobal: true,
  });
}

function hasLock(task: Task, resource: string): boolean {
  return task.heldLocks.some((held) => held.path === resource);
}

function holds(task: Task, resource: string): string {
  return hasLock(task, resource) ? 'holds' : 'holds up';
}

function isHeld(holder: Task, resource: string): string {
  return hasLock(holder, resource) ? 'held' : 'held up';
}

function reportWait(kernel: Kernel, task: Task): void {
  const object = resourceOf(task);
  const [holder] = blockersOf(task);
  let reason = 'and nobody will wake it';
  if (holder !== undefined) {
    reason =
      holder.pending === null
        ? `${isHeld(holder, object)} by ${holder.name}, which has ended`
        : `held up by ${holder.name}, which has nothing to do`;
  }
  kernel.report({
    kind: 'deadlock',
    object,
    message: `${task.name} waits for ${object} ${reason}`,
    place: task.functionName,
    isGlobal: true,
  });
}

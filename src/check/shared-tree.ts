/**
 * The upper part of a search that several explore: what was taken over by whom, and what is yet to be.
 *
 * Each node is a beginning of executions, and was somebody's until it was shared. From then on nobody
 * explores from it but by taking one of its branches as a job of its own. Branches are taken in order,
 * and those taken before sleep in the job, whether or not they are done: that somebody explores them is
 * enough. Whoever finds that another order is wanted up here tells it; the execution is then repeated, and
 * looked at as if the search had been one (OptimalDpor.plan). So what several find is explored once.
 *
 * A search that is one explores a branch only when all that comes before it has planned what is to follow
 * in it. Here branches are taken before that, so nothing is covered by what is merely independent of it
 * (`isExact` is false in all parts), which is complete in whatever order the parts are explored, and may
 * abandon runs.
 *
 * Nodes can also be expanded: every branch that there can be is taken at once. Then nothing can be wanted
 * there any more, and the parts below have nothing to tell each other. That is for those who cannot
 * (`--shard`). It costs runs that are abandoned, for not every branch has something left to explore.
 */
import { assert } from '../base/assert.ts';
import { PAUSE } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { ExploreOptions } from './exploration.ts';
import { isAsleep, OptimalNode } from './optimal-node.ts';
import { PartialDpor, type PlannedAbove, type SharedDepths } from './partial-dpor.ts';
import type { Program, Schedule } from './program.ts';
import {
  loadBranch,
  loadBranches,
  saveBranch,
  saveBranches,
  WHOLE,
  type SavedBranch,
  type SavedNode,
  type SavedSearch,
} from './saved-search.ts';
import { earliestOf, type Branch } from './wakeup-tree.ts';

/** A beginning of executions from which several explore. */
interface SharedNode {
  readonly path: Schedule;
  /** What slept when it was shared. */
  readonly sleep: readonly Branch[];
  /** In the order in which they were taken. */
  readonly taken: Taken[];
  pending: Branch[];
  readonly isExpanded: boolean;
}

/** A branch that somebody explores, or has explored. */
interface Taken {
  /** The index that its task has there. */
  readonly index: number;
  readonly branch: Branch;
}

/** {@link SharedTree} as plain data. */
export interface SavedTree {
  readonly nodes: readonly {
    readonly path: Schedule;
    readonly sleep: readonly SavedBranch[];
    readonly taken: readonly (readonly [index: number, branch: SavedBranch])[];
    readonly pending: readonly SavedBranch[];
    readonly isExpanded: boolean;
  }[];
  /** What nobody explores at the moment, or somebody who is not asked to go on. */
  readonly jobs: readonly SavedSearch[];
}

/** The one of several parts that is to be explored: part `index` (from 0) of `count`. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** Parts that are made for each shard, so that they come out of about the same size. */
const PARTS_PER_SHARD = 32;
/** Beginnings longer than this are not parted any further. */
const EXPANDED_DEPTH_MAX = 40;

export class SharedTree {
  private readonly planner: Planner;
  private readonly nodes = new Map<string, SharedNode>();
  /** Parts to be explored that are no branch of a node. */
  private readonly jobs: SavedSearch[] = [];
  /** Where those begin that somebody is exploring. */
  private readonly open = new Map<number, Schedule>();
  private lastId = 0;

  constructor(program: Program, options: ExploreOptions) {
    const { visibleMemory } = options;
    this.planner = new Planner(program, {
      ...(visibleMemory === undefined ? {} : { visibleMemory }),
      takesAllOutcomes: true,
    });
    this.planner.forgetOrder();
  }

  /** Begins with the whole of a search; or with all that is left, if `saved` is given. */
  begin(saved: SavedTree | null): void {
    if (saved === null) {
      this.jobs.push(WHOLE);
      return;
    }
    const { names } = this.planner;
    this.jobs.push(...saved.jobs);
    for (const { path, sleep, taken, pending, isExpanded } of saved.nodes) {
      this.nodes.set(keyOf(path), {
        path,
        sleep: loadBranches(sleep, names),
        taken: taken.map(([index, branch]) => ({ index, branch: loadBranch(branch, names) })),
        pending: loadBranches(pending, names),
        isExpanded,
      });
    }
  }

  /** Begins with one of several parts of the search. The same in all that are told the same `count`. */
  beginShard({ index, count }: Shard): void {
    let parts: Schedule[] = [WHOLE.path];
    for (let depth = 0; depth < EXPANDED_DEPTH_MAX && parts.length < count * PARTS_PER_SHARD;) {
      const next = parts.flatMap((part) =>
        part.tasks.length === depth ? this.expand(part) : [part],
      );
      depth += 1;
      parts = next;
    }
    for (let at = index; at < parts.length; at += count) {
      this.jobs.push(this.jobAt(parts[at] as Schedule, null));
    }
  }

  /** What is left, as plain data. `open` says how far those are who explore. */
  save(open: readonly SavedSearch[]): SavedTree {
    const { names } = this.planner;
    return {
      nodes: [...this.nodes.values()].map(({ path, sleep, taken, pending, isExpanded }) => ({
        path,
        sleep: saveBranches(sleep, names),
        taken: taken.map(({ index, branch }) => [index, saveBranch(branch, names)] as const),
        pending: saveBranches(pending, names),
        isExpanded,
      })),
      jobs: [...this.jobs, ...open],
    };
  }

  /** Something to explore, and the number by which it is known until it is done; null if there is nothing. */
  take(): { readonly id: number; readonly search: SavedSearch } | null {
    const search = this.jobs.shift() ?? this.takeBranch();
    if (search === null) return null;
    this.lastId += 1;
    this.open.set(this.lastId, search.path);
    return { id: this.lastId, search };
  }

  /** Parts that were begun, as somebody left them, or are to be begun. */
  get waiting(): readonly SavedSearch[] {
    return this.jobs;
  }

  /** Whether there may be something to take. */
  get hasWork(): boolean {
    if (this.jobs.length > 0) return true;
    for (const node of this.nodes.values()) if (node.pending.length > 0) return true;
    return false;
  }

  /** Notes that job `id` has come to its end. */
  finish(id: number): void {
    this.open.delete(id);
    this.prune();
  }

  /** Gives job `id` back, with what is left of it. */
  giveBack(id: number, search: SavedSearch): void {
    this.open.delete(id);
    this.jobs.push(search);
  }

  /** Takes over the depths that job `id` has shared; `search` is what was saved after that. */
  share(id: number, search: SavedSearch, { from, to }: SharedDepths): void {
    const { names } = this.planner;
    for (let at = from; at <= to; at += 1) {
      const { tree, sleep } = search.nodes[at] as SavedNode;
      const path = beginningOf(search.path, at);
      const [branch, ...pending] = loadBranches(tree, names);
      assert(branch !== undefined, 'a depth of the path is being explored');
      this.nodes.set(keyOf(path), {
        path,
        sleep: loadBranches(sleep, names),
        taken: [{ index: search.path.tasks[at] as number, branch }],
        pending,
        isExpanded: false,
      });
    }
    this.open.set(id, search.path);
  }

  /** Looks whether what somebody wants up here is explored already, and remembers it if not. */
  plan(planned: PlannedAbove): void {
    const depth = earliestOf(planned.group);
    const node = this.nodes.get(keyOf(beginningOf(planned.schedule, depth)));
    assert(node !== undefined, 'what is planned above a floor is planned at a shared node');
    if (node.isExpanded) return;
    const first = node.taken[indexOfStep(node, planned.schedule, depth)] as Taken;
    const others = node.taken.filter((one) => one !== first);
    node.pending = this.planner.planAt(planned, {
      sleep: [...node.sleep, ...branchesOf(others)],
      tree: [first.branch, ...node.pending],
    });
  }

  // ---- jobs ---------------------------------------------------------------------------------

  private takeBranch(): SavedSearch | null {
    for (;;) {
      let best: SharedNode | null = null;
      for (const node of this.nodes.values()) {
        if (node.pending.length === 0) continue;
        if (best === null || node.path.tasks.length < best.path.tasks.length) best = node;
      }
      if (best === null) return null;
      const sleep = [...best.sleep, ...branchesOf(best.taken)];
      const taken = this.planner.takeAt(best.path, { sleep, tree: best.pending });
      if (taken === null) continue;
      const job = this.jobAt(best.path, taken.branch);
      best.taken.push(taken);
      return job;
    }
  }

  /** The job to explore from `path`, with `branch` first, or freely if that is null. */
  private jobAt(path: Schedule, branch: Branch | null): SavedSearch {
    const { names } = this.planner;
    const length = path.tasks.length;
    const nodes: SavedNode[] = [];
    for (let at = 0; at < length; at += 1) {
      nodes.push(this.nodeBeside(path, at));
    }
    if (branch !== null) {
      const node = this.nodes.get(keyOf(path)) as SharedNode;
      // Its other outcomes have been planned beside it.
      const first = loadBranch(saveBranch(branch, names), names);
      first.isRacing = false;
      nodes.push({
        tree: saveBranches([first, ...node.pending], names),
        sleep: saveBranches([...node.sleep, ...branchesOf(node.taken)], names),
        doneCount: 0,
      });
    }
    const floor = branch === null ? length : length + 1;
    return { ...WHOLE, path, nodes, floor, isExact: false };
  }

  /** What is known at one depth of `path` to who follows it. */
  private nodeBeside(path: Schedule, depth: number): SavedNode {
    const { names } = this.planner;
    const node = this.nodes.get(keyOf(beginningOf(path, depth))) as SharedNode;
    const at = indexOfStep(node, path, depth);
    const tree = branchesOf(node.taken.slice(at)).map((branch) => leafOf(branch, names));
    return {
      tree: [...tree, ...saveBranches(node.pending, names)],
      sleep: saveBranches([...node.sleep, ...branchesOf(node.taken.slice(0, at))], names),
      doneCount: 0,
    };
  }

  /** Forgets nodes from which nobody explores any more. */
  private prune(): void {
    const needed = new Set<string>();
    const need = (path: Schedule): void => {
      for (let at = path.tasks.length; at >= 0; at -= 1) needed.add(keyOf(beginningOf(path, at)));
    };
    for (const path of this.open.values()) need(path);
    for (const { path } of this.jobs) need(path);
    for (const { path, pending } of this.nodes.values()) if (pending.length > 0) need(path);
    for (const key of this.nodes.keys()) if (!needed.has(key)) this.nodes.delete(key);
  }

  // ---- expanding ----------------------------------------------------------------------------

  /** Takes every branch that does not sleep; what the parts below begin with. Itself if it is an end. */
  private expand(path: Schedule): Schedule[] {
    const at = path.tasks.length;
    const expanded = this.planner.expand(path, at === 0 ? null : this.nodeBeside(path, at - 1));
    if (expanded === null) return [path];
    const { sleep, taken, outcomes } = expanded;
    this.nodes.set(keyOf(path), { path, sleep, taken, pending: [], isExpanded: true });
    return taken.map(({ index }, order) => ({
      tasks: [...path.tasks, index],
      outcomes: [...path.outcomes, outcomes[order] as number],
    }));
  }
}

/** Which of the branches that were taken from `node` the path goes on with. */
function indexOfStep({ taken }: SharedNode, path: Schedule, depth: number): number {
  const task = path.tasks[depth];
  const outcome = (path.outcomes[depth] as number) & ~PAUSE;
  const at = taken.findIndex(({ index, branch }) => index === task && branch.outcome === outcome);
  assert(at >= 0, 'what is below a shared node was taken from it');
  return at;
}

function branchesOf(taken: readonly Taken[]): Branch[] {
  return taken.map(({ branch }) => branch);
}

function leafOf(branch: Branch, names: Planner['names']): SavedBranch {
  const [task, outcome, footprint, flags] = saveBranch(branch, names);
  return [task, outcome, footprint, flags, []];
}

function beginningOf({ tasks, outcomes }: Schedule, length: number): Schedule {
  return { tasks: tasks.slice(0, length), outcomes: outcomes.slice(0, length) };
}

function keyOf({ tasks, outcomes }: Schedule): string {
  return tasks.map((task, at) => `${task}.${outcomes[at] ?? 0}`).join(' ');
}

/** Branches that may be planned in the shared part at one time. */
const PLANNED_COUNT_MAX = 1_000_000;

interface NodeContent {
  readonly sleep: readonly Branch[];
  readonly tree: readonly Branch[];
}

/** Explores nothing: goes where it is sent, and answers what an explorer would do there. */
class Planner extends PartialDpor {
  get names() {
    return this.order.names;
  }

  forgetOrder(): void {
    this.isExact = false;
  }

  /** Takes the steps of an execution, and then does `code` as if in between two steps. */
  private after<T>(path: Schedule, code: () => T): T {
    return this.asRunning(() => {
      this.retrace(path);
      this.depth = path.tasks.length;
      return code();
    });
  }

  /** What is pending besides the first branch of a node, once `planned` is. */
  planAt({ schedule, group, at, task }: PlannedAbove, content: NodeContent): Branch[] {
    return this.after(schedule, () => {
      const { kernel } = this;
      const node = this.nodeWith(earliestOf(group), content);
      this.budget.left = PLANNED_COUNT_MAX;
      const racing =
        at < kernel.stepCount
          ? this.order.stepAt(at)
          : this.order.blockedStep(kernel.tasks[task] as Task, this.blockedStep);
      this.plan(group, racing, at);
      return node.tree.slice(1);
    });
  }

  /**
   * Takes the first branch that can be taken after `path` out of `tree`, with what it touches; null if none
   * can. Drops those that cannot, and adds what else it can come to.
   */
  takeAt(path: Schedule, { sleep, tree }: { sleep: Branch[]; tree: Branch[] }): Taken | null {
    return this.after(path, () => {
      const node = this.nodeWith(path.tasks.length, { sleep, tree: [] });
      node.tree = tree;
      while (tree[0] !== undefined && isAsleep(node, tree[0].task, tree[0].outcome)) tree.shift();
      if (tree.length === 0 || this.follow(node) === null) return null;
      const { task } = this.order.stepAt(path.tasks.length);
      return { index: task, branch: tree.shift() as Branch };
    });
  }

  /** Every step that can be taken after `path` and does not sleep; null if that is an end. */
  expand(path: Schedule, before: SavedNode | null): Expanded | null {
    const at = path.tasks.length;
    const { sleep, candidates } = this.after(path, () => {
      const node = this.nodeWith(at, { sleep: [], tree: [] });
      if (before !== null) {
        this.nodeWith(at - 1, { sleep: loadBranches(before.sleep, this.names), tree: [] });
      }
      this.inheritSleep(at, node);
      return { sleep: [...node.sleep], candidates: this.candidates(node) };
    });
    if (candidates === null) return null;
    const taken: Taken[] = [];
    const outcomes: number[] = [];
    for (const branch of candidates) {
      this.after(path, () => {
        const task = this.kernel.tasks[this.order.indexOf(branch.task)] as Task;
        const step = this.order.take(task, branch.outcome);
        branch.footprint = step.footprint;
        branch.isGuess = false;
        taken.push({ index: task.index, branch });
        outcomes.push(step.outcome | step.pause);
      });
    }
    return { sleep, taken, outcomes };
  }

  private candidates(node: OptimalNode): Branch[] | null {
    const enabled = this.kernel.tasks.filter((task) => this.kernel.isEnabled(task));
    if (enabled.length === 0) return null;
    const found: Branch[] = [];
    for (const task of enabled) {
      node.tree = [];
      this.addOutcomes(node, task.index);
      found.push(
        ...node.tree.map((branch) => loadBranch(saveBranch(branch, this.names), this.names)),
      );
    }
    return found;
  }

  private nodeWith(at: number, { sleep, tree }: NodeContent): OptimalNode {
    const node = new OptimalNode();
    node.sleep.push(...sleep);
    node.tree = [...tree];
    this.nodes[at] = node;
    return node;
  }
}

interface Expanded {
  readonly sleep: readonly Branch[];
  readonly taken: Taken[];
  /** For each its outcome as a schedule has it. */
  readonly outcomes: readonly number[];
}

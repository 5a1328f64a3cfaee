/**
 * A search that several explore: one leads, the others help. The leader keeps the shared part of the tree
 * (shared-tree.ts), explores as well, and shares what it has with whoever has nothing to do.
 *
 * Nobody waits for an answer. A helper tells what it plans above its floor, and now and then how far it
 * is; so the leader always knows how far everybody is at least, and what was explored since can be explored
 * again without harm. That is what a checkpoint consists of, and what is left of a helper that is lost.
 *
 * How messages get from one to the other is not known here: see {@link Team}.
 */
import type { ExploreOptions, ExploreResult, Explorer } from './exploration.ts';
import { PartialDpor, type PlannedAbove, type SharedDepths } from './partial-dpor.ts';
import type { Program, Schedule } from './program.ts';
import type { SavedSearch } from './saved-search.ts';
import { SharedTree, type SavedTree, type Shard } from './shared-tree.ts';

/** What the leader says to a helper. */
export type ToHelper =
  | { readonly kind: 'job'; readonly id: number; readonly search: SavedSearch }
  /** Share what you have, if you can. */
  | { readonly kind: 'share' }
  /** Say how far you are. */
  | { readonly kind: 'save' }
  /** Forget your job. */
  | { readonly kind: 'drop' };

/** What a helper says to the leader. `id` is that of the job it is about. */
export type FromHelper =
  | { readonly kind: 'planned'; readonly id: number; readonly planned: PlannedAbove }
  /** How far it is; and what it shares, if it does. */
  | {
      readonly kind: 'progress';
      readonly id: number;
      readonly search: SavedSearch;
      readonly shared: SharedDepths | null;
    }
  /** It was asked to share, and has nothing to give. */
  | { readonly kind: 'nothing'; readonly id: number };

/** The helpers, as the leader sees them: numbered from 0. */
export interface Team {
  readonly size: number;
  /** Whether it has come, and is not gone. */
  isReady(helper: number): boolean;
  send(helper: number, message: ToHelper): void;
  /** What was said, in the order in which each said it; null if nothing has been. */
  receive(): { readonly helper: number; readonly message: FromHelper } | null;
  /** Whether `receive` has something. Asked after each execution: to be cheap. */
  readonly hasMessage: boolean;
  /** Waits for a message, for a moment at most. */
  wait(): void;
  /** A helper that will not say anything any more; null if there is none. Each is told once. */
  takeLost(): number | null;
}

/** How far a search has come that can be gone on with. */
export interface SavedRound {
  readonly tree: SavedTree;
  /** Of all that is done. The jobs of the tree have theirs besides. */
  readonly done: Omit<ExploreResult, 'isComplete'>;
  /** Whether several have explored it. */
  readonly isParted: boolean;
}

export interface TeamOptions extends ExploreOptions {
  readonly team?: Team;
  readonly resume?: SavedRound | null;
  readonly shard?: Shard | null;
  /** Asked after each run of the leader: true to be called `atRest` soon. */
  readonly isRestWanted?: () => boolean;
  /** Called between executions, and again and again while the leader waits. True ends the search. */
  readonly atRest?: (search: TeamSearch) => boolean;
}

interface Job {
  readonly id: number;
  /** How far it was when that was last said. */
  search: SavedSearch;
}

/** Runs of the leader between two looks at who has nothing to do. */
const RUNS_PER_LOOK = 32;

export class TeamSearch implements Explorer {
  private readonly program: Program;
  private readonly options: TeamOptions;
  private readonly tree: SharedTree;
  private readonly done = { executions: 0, blocked: 0, steps: 0 };
  /** What the leader explores, and the number it has. */
  private own: { readonly id: number; readonly explorer: PartialDpor } | null = null;
  /** What each helper explores. */
  private readonly jobs: (Job | null)[] = [];
  private readonly lost = new Set<number>();
  /** Who was asked to share and has not answered, or has nothing. */
  private readonly asked = new Set<number>();
  private readonly isParted: boolean;
  private isStopped = false;
  private lastSchedule: Schedule = { tasks: [], outcomes: [] };

  constructor(program: Program, options: TeamOptions = {}) {
    const { resume = null, shard = null } = options;
    this.program = program;
    this.options = options;
    this.isParted = options.team !== undefined || resume?.isParted === true;
    this.tree = new SharedTree(program, options);
    if (resume === null && shard !== null) this.tree.beginShard(shard);
    else this.tree.begin(resume?.tree ?? null);
    if (resume !== null) this.count(resume.done);
  }

  run(): ExploreResult {
    const { atRest } = this.options;
    for (;;) {
      this.listen();
      if (atRest?.(this) === true) this.isStopped = true;
      if (this.isStopped) return this.stop();
      this.takeOwn();
      this.feed();
      if (this.own !== null) this.explore(this.own.id, this.own.explorer);
      else if (this.jobs.some((job) => job !== null)) this.wait();
      else if (!this.tree.hasWork) return this.result(true);
    }
  }

  result(isComplete: boolean): ExploreResult {
    const total = { ...this.done, isComplete };
    const own = this.own?.explorer.result(false);
    for (const part of [own, ...this.jobs.map((job) => job?.search), ...this.tree.waiting]) {
      total.executions += part?.executions ?? 0;
      total.blocked += part?.blocked ?? 0;
      total.steps += part?.steps ?? 0;
    }
    return total;
  }

  get schedule(): Schedule {
    return this.own?.explorer.schedule ?? this.lastSchedule;
  }

  /** How far everybody is. Call from `atRest`. */
  save(): SavedRound {
    const own = this.own === null ? [] : [this.own.explorer.save()];
    const others = this.jobs.flatMap((job) => (job === null ? [] : [job.search]));
    return {
      tree: this.tree.save([...own, ...others]),
      done: { ...this.done },
      isParted: this.isParted,
    };
  }

  /** Asks all helpers to say how far they are. */
  askAll(): void {
    for (const [helper, job] of this.jobs.entries()) {
      if (job !== null) this.options.team?.send(helper, { kind: 'save' });
    }
  }

  // ---- the leader's own ---------------------------------------------------------------------

  private takeOwn(): void {
    if (this.own !== null) return;
    const job = this.tree.take();
    if (job === null) return;
    const { id, search } = job;
    const { team, isRestWanted, executionCountMax, ...options } = this.options;
    let runs = 0;
    const explorer = new PartialDpor(
      this.program,
      {
        ...options,
        takesAllOutcomes: this.isParted,
        ...(executionCountMax === undefined
          ? {}
          : { executionCountMax: Math.max(1, executionCountMax - this.elsewhere()) }),
        onExecution: (run) => {
          this.isStopped = this.options.onExecution?.(run) ?? false;
          return this.isStopped;
        },
        onPlannedAbove: (planned) => this.tree.plan(planned),
        isPauseWanted: () => {
          runs += 1;
          if (isRestWanted?.() === true || team?.hasMessage === true) return true;
          return runs % RUNS_PER_LOOK === 0 && this.hasIdle;
        },
      },
      search,
    );
    this.own = { id, explorer };
  }

  private explore(id: number, explorer: PartialDpor): void {
    explorer.run();
    this.lastSchedule = explorer.isOver ? this.lastSchedule : explorer.schedule;
    if (explorer.isOver) {
      this.count(explorer.result(true));
      this.own = null;
      this.tree.finish(id);
    }
    const { executionCountMax = Infinity } = this.options;
    const { executions, blocked } = this.result(false);
    // What is left then is left: only the end of everything is complete.
    if (executions + blocked >= executionCountMax && !this.isFinished) this.isStopped = true;
    // Who had nothing to share may have something now.
    this.asked.clear();
  }

  /** True if it has come to its end, or is being stopped. */
  get isEnding(): boolean {
    return this.isStopped || this.isFinished;
  }

  /** True if nothing is left. */
  get isFinished(): boolean {
    return this.own === null && !this.tree.hasWork && this.jobs.every((job) => job === null);
  }

  /** Executions of all others, while the leader has no job. */
  private elsewhere(): number {
    const { executions, blocked } = this.result(false);
    return executions + blocked;
  }

  private count({ executions, blocked, steps }: Omit<ExploreResult, 'isComplete'>): void {
    this.done.executions += executions;
    this.done.blocked += blocked;
    this.done.steps += steps;
  }

  private stop(): ExploreResult {
    for (const [helper, job] of this.jobs.entries()) {
      if (job !== null) this.options.team?.send(helper, { kind: 'drop' });
    }
    return this.result(false);
  }

  // ---- the others ---------------------------------------------------------------------------

  private get hasIdle(): boolean {
    const size = this.options.team?.size ?? 0;
    for (let helper = 0; helper < size; helper += 1) {
      if ((this.jobs[helper] ?? null) === null && this.canHelp(helper)) return true;
    }
    return false;
  }

  private canHelp(helper: number): boolean {
    return !this.lost.has(helper) && this.options.team?.isReady(helper) === true;
  }

  /** Gives something to whoever has nothing, and asks others to share if there is nothing. */
  private feed(): void {
    const { team } = this.options;
    if (team === undefined) return;
    for (let helper = 0; helper < team.size; helper += 1) {
      if ((this.jobs[helper] ??= null) !== null || !this.canHelp(helper)) continue;
      const job = this.tree.take() ?? this.takeShared();
      if (job === null) break;
      const { id, search } = job;
      this.jobs[helper] = { id, search };
      team.send(helper, { kind: 'job', id, search });
    }
    if (this.own === null || this.hasIdle) this.askToShare(team);
  }

  private takeShared(): ReturnType<SharedTree['take']> {
    if (this.own === null) return null;
    const { id, explorer } = this.own;
    const shared = explorer.share();
    if (shared === null) return null;
    this.tree.share(id, explorer.save(), shared);
    return this.tree.take();
  }

  private askToShare(team: Team): void {
    if (this.tree.hasWork) return;
    for (const [helper, job] of this.jobs.entries()) {
      if (job === null || this.asked.has(helper)) continue;
      this.asked.add(helper);
      team.send(helper, { kind: 'share' });
    }
  }

  private wait(): void {
    const { team } = this.options;
    if (team === undefined || team.hasMessage) return;
    team.wait();
    if (!team.hasMessage) this.asked.clear();
  }

  private listen(): void {
    const { team } = this.options;
    if (team === undefined) return;
    for (let said = team.receive(); said !== null; said = team.receive()) {
      this.hear(said.helper, said.message);
    }
    for (let helper = team.takeLost(); helper !== null; helper = team.takeLost()) {
      this.lost.add(helper);
      const job = this.jobs[helper] ?? null;
      this.jobs[helper] = null;
      if (job !== null) this.tree.giveBack(job.id, job.search);
    }
  }

  private hear(helper: number, message: FromHelper): void {
    const job = this.jobs[helper] ?? null;
    // What it says of a job that was taken from it is of no use.
    if (job === null || job.id !== message.id) return;
    if (message.kind === 'planned') this.tree.plan(message.planned);
    if (message.kind !== 'progress') return;
    job.search = message.search;
    if (message.shared !== null) {
      this.tree.share(job.id, message.search, message.shared);
      this.asked.delete(helper);
    }
    if (!message.search.isOver) return;
    this.jobs[helper] = null;
    this.asked.delete(helper);
    this.count(message.search);
    this.tree.finish(job.id);
  }
}

/** One who helps: does what the leader says, as often as it is let. */
export class Helper {
  private readonly program: Program;
  private readonly options: ExploreOptions;
  private readonly send: (message: FromHelper) => void;
  private readonly isPauseWanted: () => boolean;
  private id = 0;
  private explorer: PartialDpor | null = null;

  /** @param isPauseWanted asked after each run: true to come back from `work`. */
  constructor(
    program: Program,
    options: ExploreOptions,
    send: (message: FromHelper) => void,
    isPauseWanted: () => boolean,
  ) {
    this.program = program;
    this.options = options;
    this.send = send;
    this.isPauseWanted = isPauseWanted;
  }

  get isBusy(): boolean {
    return this.explorer !== null;
  }

  /** The steps of the present execution so far. */
  get schedule(): Schedule {
    return this.explorer?.schedule ?? { tasks: [], outcomes: [] };
  }

  hear(message: ToHelper): void {
    if (message.kind === 'job') {
      const { id } = message;
      this.id = id;
      const { isPauseWanted } = this;
      const onPlannedAbove = (planned: PlannedAbove): void =>
        this.send({ kind: 'planned', id, planned });
      const options = {
        ...this.options,
        isPauseWanted,
        onPlannedAbove,
        takesAllOutcomes: true,
      };
      this.explorer = new PartialDpor(this.program, options, message.search);
    } else if (message.kind === 'drop') {
      this.explorer = null;
    } else if (this.explorer !== null) {
      const shared = message.kind === 'share' ? this.explorer.share() : null;
      if (message.kind === 'save' || shared !== null) this.tell(this.explorer, shared);
      else this.send({ kind: 'nothing', id: this.id });
    }
  }

  /** Goes on with the job until a pause is wanted. */
  work(): void {
    const { explorer } = this;
    if (explorer === null) return;
    explorer.run();
    if (!explorer.isOver) return;
    this.explorer = null;
    this.tell(explorer, null);
  }

  private tell(explorer: PartialDpor, shared: SharedDepths | null): void {
    this.send({ kind: 'progress', id: this.id, search: explorer.save(), shared });
  }
}

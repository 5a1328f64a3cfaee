/**
 * Explorers that take a search to pieces: one is saved and gone on with after every few executions, one is
 * explored by several that take turns as a number decides, one is explored as shards. Whatever is passed
 * on goes through JSON.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type {
  Execution,
  ExploreOptions,
  Explorer,
  ExploreResult,
} from '../../src/check/exploration.ts';
import { PartialDpor } from '../../src/check/partial-dpor.ts';
import type { BoundedResult } from '../../src/check/bounded-dpor.ts';
import type { Program, Schedule } from '../../src/check/program.ts';
import { ResumableBound, type SavedBound } from '../../src/check/resumable-bound.ts';
import { WHOLE, type SavedSearch } from '../../src/check/saved-search.ts';
import {
  Helper,
  TeamSearch,
  type FromHelper,
  type SavedRound,
  type Team,
  type ToHelper,
} from '../../src/check/team.ts';

function copyOf<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

abstract class Pieces implements Explorer {
  protected readonly program: Program;
  protected readonly options: ExploreOptions;
  protected isStopped = false;
  protected last: ExploreResult = { executions: 0, blocked: 0, steps: 0, isComplete: false };

  constructor(program: Program, options: ExploreOptions = {}) {
    this.program = program;
    this.options = {
      ...options,
      onExecution: (run: Execution) => {
        this.isStopped ||= options.onExecution?.(run) ?? false;
        return this.isStopped;
      },
    };
  }

  abstract run(): ExploreResult;

  result(): ExploreResult {
    return this.last;
  }

  get schedule(): Schedule {
    return { tasks: [], outcomes: [] };
  }
}

/** Goes on from what was saved after every run. */
export class ResumedDpor extends Pieces {
  run(): ExploreResult {
    let saved: SavedSearch = WHOLE;
    while (!this.isStopped) {
      const part = new PartialDpor(
        this.program,
        { ...this.options, isPauseWanted: () => true },
        saved,
      );
      this.last = part.run();
      if (this.last.isComplete) break;
      saved = copyOf(part.save());
    }
    return this.last;
  }
}

/** Helpers that take their turns when the leader asks whether there is a message. */
export class TestTeam implements Team {
  readonly size: number;
  private readonly helpers: Helper[] = [];
  private readonly inboxes: ToHelper[][] = [];
  private readonly said: { helper: number; message: FromHelper }[] = [];
  private readonly random = xoroshiro128plus(1);
  private readonly lossAt: number;
  private turns = 0;
  private lost: number | null = null;

  /** @param lossAt the turn after which the first helper says nothing any more; Infinity for never. */
  constructor(size: number, program: Program, options: ExploreOptions, lossAt = Infinity) {
    this.size = size;
    this.lossAt = lossAt;
    for (let helper = 0; helper < size; helper += 1) {
      this.inboxes.push([]);
      const send = (message: FromHelper): void => {
        this.said.push({ helper, message: copyOf(message) });
      };
      this.helpers.push(
        new Helper(program, options, send, () => uniformInt(this.random, 0, 2) > 0),
      );
    }
  }

  isReady(): boolean {
    return true;
  }

  send(helper: number, message: ToHelper): void {
    this.inboxes[helper]?.push(copyOf(message));
  }

  receive(): { readonly helper: number; readonly message: FromHelper } | null {
    return this.said.shift() ?? null;
  }

  get hasMessage(): boolean {
    this.turn();
    return this.said.length > 0;
  }

  wait(): void {
    this.turn();
  }

  takeLost(): number | null {
    const { lost } = this;
    this.lost = null;
    return lost;
  }

  private turn(): void {
    this.turns += 1;
    if (this.turns === this.lossAt) this.lost = 0;
    for (const [at, helper] of this.helpers.entries()) {
      if (at === 0 && this.turns >= this.lossAt) continue;
      if (uniformInt(this.random, 0, 3) === 0) continue;
      for (let message = this.inboxes[at]?.shift(); message !== undefined;) {
        helper.hear(message);
        message = this.inboxes[at]?.shift();
      }
      helper.work();
    }
  }
}

/** Explored by three. */
export class TeamDpor extends Pieces {
  /** When one of them is lost. */
  protected readonly lossAt: number = Infinity;

  run(): ExploreResult {
    const team = new TestTeam(2, this.program, this.options, this.lossAt);
    const atRest = (): boolean => this.isStopped;
    const search = new TeamSearch(this.program, { ...this.options, team, atRest });
    this.last = search.run();
    return this.last;
  }
}

/** One of the three is lost on the way; what it did since it told of it is done again. */
export class LossyTeamDpor extends TeamDpor {
  protected override readonly lossAt: number = 15;
}

/** The same, saved and gone on with by another team after every few moments of rest. */
export class ResumedTeamDpor extends Pieces {
  run(): ExploreResult {
    let resume: SavedRound | null = null;
    while (!this.isStopped && !this.last.isComplete) {
      const seen: { saved: SavedRound | null } = { saved: null };
      let rests = 0;
      const team = new TestTeam(2, this.program, this.options);
      const options: ExploreOptions = this.options;
      const search: TeamSearch = new TeamSearch(this.program, {
        ...options,
        team,
        resume,
        isRestWanted: () => true,
        atRest: (present) => {
          rests += 1;
          if (rests % 7 === 3) present.askAll();
          if (rests < 12) return this.isStopped;
          seen.saved = copyOf(present.save());
          return true;
        },
      });
      this.last = search.run();
      resume = seen.saved;
    }
    return this.last;
  }
}

/** Explored as three shards, one after the other. */
export class ShardedDpor extends Pieces {
  run(): ExploreResult {
    const total = { executions: 0, blocked: 0, steps: 0, isComplete: true };
    for (let index = 0; index < 3 && !this.isStopped; index += 1) {
      const search = new TeamSearch(this.program, { ...this.options, shard: { index, count: 3 } });
      const part = search.run();
      total.executions += part.executions;
      total.blocked += part.blocked;
      total.steps += part.steps;
      total.isComplete &&= part.isComplete;
    }
    this.last = total;
    return total;
  }
}

/** A search with a bound that goes on from what was saved after every execution. */
export class ResumedBound {
  private readonly program: Program;
  private readonly preemptions: number;
  private readonly options: ExploreOptions;

  constructor(program: Program, preemptions: number, options: ExploreOptions = {}) {
    this.program = program;
    this.preemptions = preemptions;
    this.options = options;
  }

  run(): BoundedResult {
    let isStopped = false;
    const options: ExploreOptions = {
      ...this.options,
      onExecution: (run: Execution) => {
        isStopped = this.options.onExecution?.(run) ?? false;
        return true;
      },
    };
    for (let saved: SavedBound | null = null; ;) {
      const explorer = new ResumableBound(this.program, this.preemptions, options, saved);
      explorer.run();
      saved = copyOf(explorer.save());
      if (saved.isOver || isStopped) return explorer.result(saved.isOver && !isStopped);
    }
  }
}

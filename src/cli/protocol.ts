/** What the command and its exploring worker say to each other. */
import type { BoundWishes } from '../check/make-explorer.ts';
import type { Shard } from '../check/shared-tree.ts';
import type { SamplingPlan } from '../check/sampler/sampling.ts';
import type { ReportedVariant } from '../report/reporter.ts';
import type { FileCoverage } from '../report/reporter.ts';
import type { Failure } from './error-text.ts';

/** What to check: a scenario of the catalogue, all of them, or all that a file exports. */
export type Target =
  | { readonly kind: 'scenario'; readonly name: string }
  | { readonly kind: 'catalogue' }
  | { readonly kind: 'file'; readonly path: string };

/** How results are to be written. */
export interface View {
  /** No text, but plain data. */
  readonly isJson: boolean;
  /**
   * Whether results are also wanted as reporters take them; `values`: with what memory holds, and with an
   * execution to look at where there is no violation.
   */
  readonly report?: 'plain' | 'values';
  readonly hasColor: boolean;
  readonly columns: number;
  /** Draws only the first violation of a variant, and says how to see the others. */
  readonly isBrief: boolean;
}

/** Which variants: all of them, one by its name, or the two that show a bug and that it is fixed. */
export type VariantChoice =
  | { readonly kind: 'all' }
  | { readonly kind: 'one'; readonly name: string }
  | { readonly kind: 'demo' };

export interface CheckRequest {
  readonly kind: 'check';
  readonly target: Target;
  readonly variants: VariantChoice;
  readonly doesBail: boolean;
  readonly stepCountMax: number | null;
  readonly executionCountMax: number | null;
  readonly secondsMax: number | null;
  /** How to draw executions at random; null to run one of each class. */
  readonly sampling: SamplingPlan | null;
  readonly bounds: BoundWishes;
  /** Left out for a search in one piece that is not saved. */
  readonly long?: LongWishes;
  /** Whether to count which lines were run. */
  readonly coverage: boolean;
  readonly view: View;
}

/** How a long search is to go. */
export interface LongWishes {
  /** Threads that explore. */
  readonly workers: number;
  /** Where to save how far it is, now and then; null: where it was read from, if it was. */
  readonly checkpoint: string | null;
  /** What to go on with. */
  readonly resume: string | null;
  /** Which part to explore. */
  readonly shard: Shard | null;
}

export interface MergeRequest {
  readonly kind: 'merge';
  readonly files: readonly string[];
  readonly view: View;
}

export interface ReplayRequest {
  readonly kind: 'replay';
  readonly token: string;
  /** Where the scenario is defined, if not where the token says. */
  readonly file: string | null;
  readonly view: View;
}

export interface ClaimRequest {
  readonly kind: 'claim';
  /** The text of the claim. */
  readonly source: string;
  /** Null to find out. */
  readonly scenario: string | null;
  readonly variant: string | null;
  /** Where scenarios are defined, if not in the catalogue. */
  readonly file: string | null;
  readonly executionCountMax: number | null;
  readonly secondsMax: number | null;
  readonly view: View;
}

export type Request = CheckRequest | ReplayRequest | ClaimRequest | MergeRequest;

export type Message =
  /** A variant is being checked now. `stub` is what is known of its result at least. */
  | { readonly kind: 'started'; readonly name: string; readonly stub: ReportedVariant | null }
  /** A variant is done: as text, or as a part of the JSON document. */
  | {
      readonly kind: 'result';
      readonly text: string;
      readonly json: unknown;
      /** If the view asks for it. */
      readonly report: ReportedVariant | null;
      readonly exitCode: number;
    }
  /** What was run of the code under test, in all that was checked. */
  | { readonly kind: 'coverage'; readonly files: readonly FileCoverage[] }
  /** Something is wrong with the input. */
  | { readonly kind: 'failed'; readonly failure: Failure }
  /** Something is wrong with us. */
  | { readonly kind: 'broken'; readonly text: string }
  | { readonly kind: 'done' };

export interface WorkerInput {
  readonly request: Request;
  readonly counters: SharedArrayBuffer;
}

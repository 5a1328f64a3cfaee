/**
 * What reporters have in common: each turns the same account of what was checked into one format.
 *
 * A reporter sees everything at once, at the end; it has no clock and no files, so that equal results give
 * equal bytes. Whoever asked for it writes what it returns.
 */
import type { Recording } from '../trace/recording.ts';
import type { VariantResult } from '../check/result.ts';
import type { CheckedVariant } from './json.ts';
import type { ReporterName } from './reporter-name.ts';

/** A variant as it was checked, with all that any format shows. */
export interface ReportedVariant extends CheckedVariant {
  /** What the scenario is about; null if it does not say. */
  readonly about: string | null;
  /** What this variant is; null if it does not say. */
  readonly variantAbout: string | null;
  /** The file that defines the scenario, as a user would type it; null for one of the catalogue. */
  readonly file: string | null;
  /** An execution without violation, where none was found: to see what happens at all. */
  readonly sample?: { readonly recording: Recording; readonly token: string };
}

/** Something wrong with the input: no scenario could be checked, or one was given up. */
export interface ReportedFailure {
  readonly code: string;
  readonly message: string;
  /** `driver.ts:12`, or null. */
  readonly place: string | null;
}

/** A file under test with its lines (from 1) that some execution ran, and those that none did. */
export interface FileCoverage {
  readonly path: string;
  readonly run: readonly number[];
  readonly missed: readonly number[];
}

export interface ReportInput {
  /** Of mmulab. */
  readonly version: string;
  readonly variants: readonly ReportedVariant[];
  readonly failures: readonly ReportedFailure[];
  /** If it was asked for. */
  readonly coverage?: readonly FileCoverage[];
}

export interface Reporter {
  /** What follows `--reporter`. */
  readonly name: ReporterName;
  /** A clause for help and for the documents. */
  readonly about: string;
  /** True if each execution that is shown becomes a document of its own. */
  readonly isPerExecution?: boolean;
  /** The documents, each ending in a newline; none if there is nothing to tell in this format. */
  write(input: ReportInput): readonly string[];
}

/** An execution that is shown: of a violation, or the sample of a variant that has none. */
export interface ShownExecution {
  readonly variant: ReportedVariant;
  /** The number of the violation, from 0; null for a sample. */
  readonly violation: number | null;
  readonly recording: Recording;
  readonly token: string;
  /** `kfd-unregister v5.3: use after free of kfd_process`. */
  readonly title: string;
}

/** `driver.ts:12` taken apart. */
export interface Place {
  readonly file: string;
  readonly line: number;
}

export function parsePlace(place: string | null): Place | null {
  const match = /^(.*):(\d+)$/.exec(place ?? '');
  return match === null ? null : { file: match[1] as string, line: Number(match[2]) };
}

/** Whether a result is one that somebody must look at, as the exit code says. */
export function isWrong({ asExpected, bound, expected, violations }: VariantResult): boolean {
  if (asExpected) return false;
  // A bound that was asked for is no finding; what had to be found was not.
  const isAskedFor = bound?.isRequested === true && violations.length === 0;
  return !isAskedFor || expected?.verdict === 'violation';
}

/** The steps of a claim: what each of its cells mentions, one step for each. */
import { CLAIM_STEP_COUNT_MAX } from '../base/limits.ts';
import { UsageError } from '../base/usage-error.ts';
import { LOOSE_FIT, type ClaimStep } from './meaning.ts';
import type { ParsedClaim } from './parse.ts';
import { mentionsOf, mentionsOfRow, type Mention, type Words } from './phrase.ts';

/** A claim whose words are known, but not what they mean. */
export interface Claim {
  readonly format: ParsedClaim['format'];
  readonly labels: readonly string[];
  readonly steps: readonly ClaimStep[];
  /** Cells that mention nothing: English, or a name that nobody knows. */
  readonly empty: readonly { readonly line: number; readonly text: string }[];
}

/** What is known of the scenarios that may be meant. */
export interface Known {
  /** How well the event fits a step that fits it best. */
  readonly fit: (step: ClaimStep) => number;
  /** Whether operations touch something that is called so. */
  readonly isTouched: (name: string) => boolean;
  /** Whether what fits the step can be inside a call of `outer`. */
  readonly isInside: (step: ClaimStep, outer: Mention) => boolean;
}

/**
 * The steps of what was read. What is only context is left out, where the cell says something else.
 *
 * @throws UsageError MN601 if there are too many.
 */
export function stepsOf({ format, labels, cells }: ParsedClaim, words: Words, known: Known): Claim {
  const steps: ClaimStep[] = [];
  const empty: { line: number; text: string }[] = [];
  for (const { line, row, label, text } of cells) {
    const mentions = format === 'picture' ? mentionsOfRow(text, words) : mentionsOf(text, words);
    // A mark that names no kind of finding: that somebody waits, or what was freed.
    if (format === 'picture' && mentions.length === 0) continue;
    const made = stepsOfCell(mentions).map(({ mention, within }): ClaimStep => ({
      line,
      row,
      label,
      mention,
      within,
    }));
    const hasCall = made.some(({ mention }) => mention.args !== null);
    const kept = placed(made, known).filter((step) => !isContext(step, hasCall, known));
    if (made.length === 0) empty.push({ line, text });
    // With nothing else in the cell, the path is what is asked about.
    else steps.push(...(kept.length > 0 ? kept : made.slice(0, 1)));
  }
  if (steps.length > CLAIM_STEP_COUNT_MAX) {
    throw new UsageError(
      'MN601',
      `the claim cannot be read: it has ${steps.length} steps, the limit is ${CLAIM_STEP_COUNT_MAX}.`,
    );
  }
  return { format, labels, steps, empty };
}

function withinToo(step: ClaimStep, outer: Mention): ClaimStep {
  return { ...step, within: [...step.within, outer] };
}

/** "f() does this: a, b" says where a and b are; f is no step besides. */
function placed(steps: readonly ClaimStep[], known: Known): readonly ClaimStep[] {
  const [first, ...others] = steps;
  if (first === undefined || others.length === 0) return steps;
  const { mention } = first;
  if (mention.kind !== 'name' || mention.role !== 'at' || mention.outcome !== null) return steps;
  const inner = others.filter((step) => step.mention.kind !== 'finding');
  if (inner.length === 0 || !inner.every((step) => known.isInside(step, mention))) return steps;
  return others.map((step) => (step.mention.kind === 'finding' ? step : withinToo(step, mention)));
}

/**
 * A path that nothing touches; a word that may be English, unless it is a name as it stands; a field that no
 * function is called like: "drops ms_refcnt".
 */
function isContext(step: ClaimStep, hasCall: boolean, { fit, isTouched }: Known): boolean {
  const { kind, name, args, isSure } = step.mention;
  if (kind !== 'name') return !isSure && fit(step) === Infinity;
  if (isSure) return args === null && fit(step) === Infinity && isTouched(name);
  return hasCall || fit(step) >= LOOSE_FIT;
}

/** "In f: a, b" is about both; "a, then b in f" about b. */
function withPlaces(mentions: readonly Mention[]): { mention: Mention; within: Mention[] }[] {
  const leading: Mention[] = [];
  const steps: { mention: Mention; within: Mention[] }[] = [];
  for (const mention of mentions) {
    if (mention.role !== 'within') steps.push({ mention, within: [...leading] });
    else if (steps.length === 0) leading.push(mention);
    else steps.at(-1)?.within.push(mention);
  }
  return steps;
}

function stepsOfCell(
  mentions: readonly Mention[],
): { readonly mention: Mention; readonly within: readonly Mention[] }[] {
  const around = mentions.filter(({ role }) => role === 'within');
  if (around.length < mentions.length) return withPlaces(mentions);
  // "CPU1 is in invalidate_range_start": it has come there.
  const innermost = around[0];
  if (innermost === undefined) return [];
  return [{ mention: { ...innermost, role: 'at' }, within: around.slice(1) }];
}

/**
 * Which scenarios have which words: names of kernel functions and operations, and of what they touch. With
 * it a claim that names no scenario is looked for only where it can be, instead of everywhere.
 *
 * It is made by running a few executions of each variant (src/catalogue/words.ts, a generated file). What
 * only other executions do is missing, so a claim about that needs its scenario named. A scenario that the
 * index does not know is always looked at.
 */
import type { AnyScenario } from '../check/scenario.ts';
import { CLAIM_GLANCE_COUNT_MAX } from '../base/limits.ts';
import { fieldsOf, NAME_ENDS, nameScore } from './meaning.ts';
import type { Mention } from './phrase.ts';
import { Subject } from './subject.ts';

const WORD = /\b[A-Za-z_]\w+/g;
const NAMES_PER_LINE = 4;

export class WordIndex {
  /** The scenarios it knows: bit n of a set is the nth. */
  readonly scenarios: readonly string[];
  private readonly sets = new Map<string, bigint>();

  /** @param text what {@link writeWordIndex} wrote */
  constructor(text: string) {
    const [head = '', body = ''] = text.trim().split('\n\n');
    this.scenarios = head.split(/\s+/);
    for (const group of body.split(/\n(?=\S)/)) {
      const [set = '0', ...words] = group.split(/\s+/);
      for (const word of words) this.sets.set(word, BigInt(`0x${set}`));
    }
  }

  get words(): readonly string[] {
    return [...this.sets.keys()];
  }

  has(word: string): boolean {
    return this.sets.has(word);
  }

  isIn(word: string, scenario: string): boolean {
    const at = this.scenarios.indexOf(scenario);
    return at >= 0 && (((this.sets.get(word) ?? 0n) >> BigInt(at)) & 1n) === 1n;
  }

  /** The scenarios in which the mention may be; null if that cannot be told by its words. */
  placesOf(mention: Mention): readonly string[] | null {
    const set = this.setOf(mention);
    return set === null ? null : this.namesIn(set);
  }

  /** The scenarios in which all mentions may be, out of `catalogue`. */
  candidates(mentions: readonly Mention[], catalogue: readonly AnyScenario[]): AnyScenario[] {
    let all: bigint | null = null;
    for (const mention of mentions) {
      const set = mention.isSure ? this.setOf(mention) : null;
      if (set !== null) all = all === null ? set : all & set;
    }
    if (all === null) return [...catalogue];
    const known = new Set(this.scenarios);
    const having = new Set(this.namesIn(all));
    return catalogue.filter(({ name }) => having.has(name) || !known.has(name));
  }

  private setOf({ kind, name, text, args, verb }: Mention): bigint | null {
    if (kind === 'text') return this.together(text.match(WORD) ?? []);
    if (kind === 'path') return this.together(fieldsOf(name).slice(-1));
    if (kind !== 'name' || verb !== null || name === 'lock' || name === 'unlock') return null;
    const called = this.called(name);
    // Variables may be called otherwise, fields hardly ever.
    const first = args?.split(',')[0]?.trim() ?? '';
    const object = /[.>]/.test(first) ? fieldsOf(first).at(-1) : undefined;
    const both = called & (this.sets.get(object ?? '') ?? 0n);
    return both === 0n ? called : both;
  }

  /** Where the name is, or one that ends with it; where there is none, one that begins with it. */
  private called(name: string): bigint {
    let ends = 0n;
    let begins = 0n;
    for (const [word, set] of this.sets) {
      const score = nameScore(name, word);
      if (score <= NAME_ENDS) ends |= set;
      else if (score < Infinity) begins |= set;
    }
    return ends === 0n ? begins : ends;
  }

  /** Where all of the words are; those that are nowhere are left out. */
  private together(words: readonly string[]): bigint | null {
    let all: bigint | null = null;
    for (const word of words) {
      const set = this.sets.get(word);
      if (set !== undefined) all = all === null ? set : all & set;
    }
    return all;
  }

  private namesIn(set: bigint): string[] {
    return this.scenarios.filter((_, at) => ((set >> BigInt(at)) & 1n) === 1n);
  }
}

/** The words of one scenario, in all its variants. */
export function wordsOf(scenario: AnyScenario): Set<string> {
  const words = new Set<string>();
  for (const variant of Object.keys(scenario.variants)) {
    const subject = new Subject(scenario, variant, { hasAccesses: true, resolvePlace: null });
    subject.glance(CLAIM_GLANCE_COUNT_MAX);
    for (const { kind, name, text } of subject.table.sorts) {
      if (kind === 'finding') continue;
      for (const word of `${name} ${text}`.match(WORD) ?? []) words.add(word);
    }
  }
  return words;
}

/** The index of some scenarios as text: words that occur in the same ones share a line. */
export function writeWordIndex(
  entries: readonly (readonly [scenario: string, words: ReadonlySet<string>])[],
): string {
  const sets = new Map<string, bigint>();
  for (const [at, [, words]] of entries.entries()) {
    for (const word of words) sets.set(word, (sets.get(word) ?? 0n) | (1n << BigInt(at)));
  }
  const groups = new Map<bigint, string[]>();
  for (const word of [...sets.keys()].toSorted()) {
    const set = sets.get(word) as bigint;
    const group = groups.get(set);
    if (group === undefined) groups.set(set, [word]);
    else group.push(word);
  }
  const names = entries.map(([name]) => name);
  const head = names.map((name, at) => (at % NAMES_PER_LINE === 0 ? `\n${name}` : ` ${name}`));
  const body = [...groups].map(([set, words]) => `${set.toString(16)} ${words.join(' ')}`);
  return `${head.join('').trim()}\n\n${body.join('\n')}\n`;
}

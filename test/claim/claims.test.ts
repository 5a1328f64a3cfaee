/**
 * The claims in this folder, and their answers. Each file says in its comments which scenario it is about
 * (or none), and what is expected: for each variant the verdict and words of the explanation, or just that
 * it is ambiguous and words of what is said to that.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { findScenario, SCENARIOS } from '../../src/catalogue/index.ts';
import { judgeClaim, type ClaimAnswer, type VariantAnswer } from '../../src/claim/judge.ts';
import { nearest } from '../../src/cli/nearest.ts';
import { resolvePlace } from '../../src/cli/place.ts';

const folder = new URL('./', import.meta.url);

interface Expected {
  /** Null for the claim as a whole. */
  readonly variant: string | null;
  readonly verdict: string;
  readonly words: readonly string[];
}

interface Case {
  readonly name: string;
  readonly text: string;
  readonly scenario: string | null;
  /** What else there is to look for names in. */
  readonly catalogue: readonly string[];
  readonly expected: readonly Expected[];
}

function caseOf(name: string): Case {
  const text = readFileSync(new URL(name, folder), 'utf8');
  const notes = [...text.matchAll(/^# (.*)$/gm)].map((match) => match[1] as string);
  const scenario = notes.find((note) => note.startsWith('scenario: '))?.slice(10) ?? null;
  const others = notes.find((note) => note.startsWith('catalogue: '))?.slice(11) ?? '';
  const expected = notes.flatMap((note): Expected[] => {
    const match = /^(?:(\S+): )?(reachable|not-reachable|ambiguous)(?:$|; (.*)$)/.exec(note);
    if (match === null) return [];
    const [, variant = null, verdict = '', words = ''] = match;
    return [{ variant, verdict, words: words === '' ? [] : words.split('; ') }];
  });
  return { name, text, scenario, catalogue: others.split(' '), expected };
}

const CASES = readdirSync(folder)
  .filter((name) => name.endsWith('.txt'))
  .map((name) => caseOf(name));

function judge({ text, scenario, catalogue }: Case): ClaimAnswer {
  const found = scenario === null ? null : findScenario(scenario);
  return judgeClaim(text, {
    scenarios: found === null ? null : [found],
    catalogue: SCENARIOS.filter(({ name }) => catalogue.includes(name)),
    variant: null,
    nearest,
    resolvePlace,
  });
}

/** All that is said of a variant, as text to look for words in. */
function saidOf({ result, obstacle, readings }: VariantAnswer): string {
  const endings = result?.endings.map(
    ({ finding }) => `${finding.kind} of ${finding.object}: ${finding.message}`,
  );
  const isQuiet = result !== null && result.quiet === result.matches;
  return JSON.stringify([endings, isQuiet ? 'nothing' : '', obstacle?.reasons, readings]);
}

describe('claims', () => {
  it.each(CASES)('$name is answered as expected', (one) => {
    const answer = judge(one);
    expect(one.expected.length).toBeGreaterThan(0);
    for (const { variant, verdict, words } of one.expected) {
      const said =
        variant === null
          ? { verdict: answer.verdict, text: JSON.stringify(answer.puzzles) }
          : answer.variants
              .filter(({ subject }) => subject.variant === variant)
              .map((found) => ({ verdict: found.verdict, text: saidOf(found) }))[0];
      expect(said?.verdict, `${variant ?? one.name}: ${said?.text}`).toBe(verdict);
      for (const word of words) expect(said?.text).toContain(word);
    }
  });
});

describe('an answer', () => {
  const b5 = caseOf('b-5.txt');
  const answer = judge(b5);
  const [found] = answer.variants;

  it('shows the steps of the claim in its order', () => {
    const at = found?.shown?.at.map(({ step }) => step) ?? [];
    expect(at).toHaveLength(answer.claim.steps.length);
    expect(at).toEqual(at.toSorted((a, b) => a - b));
  });

  it('says which task each column is', () => {
    const tasks = [...(found?.shown?.match.bound ?? [])];
    expect(tasks).toEqual([
      ['CPU1', 1],
      ['CPU0', 0],
    ]);
  });

  it('says how many executions go as claimed, of how many', () => {
    expect(found?.result).toMatchObject({ executions: 31, isComplete: true, quiet: 0 });
  });

  it('is the same each time', () => {
    const again = judge(b5);
    expect(again.variants[0]?.shown?.schedule).toEqual(found?.shown?.schedule);
    expect(again.variants[0]?.shown?.at).toEqual(found?.shown?.at);
  });
});

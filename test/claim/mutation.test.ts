/** Claims that are damaged: they are answered or refused, and nothing else happens. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CLAIM_BYTES_MAX } from '../../src/base/limits.ts';
import { Random } from '../../src/base/random.ts';
import { UsageError } from '../../src/base/usage-error.ts';
import { findScenario } from '../../src/catalogue/index.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';
import { judgeClaim } from '../../src/claim/judge.ts';
import { parseClaim } from '../../src/claim/parse.ts';

const folder = new URL('./', import.meta.url);
const TEXTS = readdirSync(folder)
  .filter((name) => name.endsWith('.txt'))
  .map((name) => readFileSync(new URL(name, folder), 'utf8').replaceAll(/^#.*\n/gm, ''));
const SCENARIOS = ['program/ab-ba', 'program/lost-update', 'program/lockinc-2'].map(
  (name) => findScenario(name) as AnyScenario,
);

const LETTERS = [
  ...' \t\n|()->&.:0123456789_[]*#<"\\aZ'.split(''),
  '\u2192',
  '\u00e9',
  '\u0000',
  '\u001b',
  '\u{1f600}',
];
const WORDS = [
  'CPU0',
  'CPU 1:',
  'mutex_lock(&ab_ba.a)',
  'READ_ONCE(x) \u2192 0',
  'returns',
  'in',
  '((((',
  '->->->',
  '*** DEADLOCK ***',
  '1.',
  'ab-ba.ts:17',
  '-----',
  '__proto__',
  'constructor()',
  'toString',
];

function mutated(random: Random): string {
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T;
  let text = pick(TEXTS);
  for (let left = 1 + random.below(6); left > 0; left -= 1) {
    const at = random.below(text.length + 1);
    const to = Math.min(text.length, at + random.below(20));
    const way = random.below(7);
    if (way === 0) text = text.slice(0, at);
    else if (way === 1) text = text.slice(0, at) + text.slice(to);
    else if (way === 2) text = text.slice(0, at) + pick(LETTERS) + text.slice(at);
    else if (way === 3) text = `${text.slice(0, at)} ${pick(WORDS)} ${text.slice(at)}`;
    else if (way === 4) text = text.slice(0, at) + text.slice(at).replace('\n', '');
    else if (way === 5) text = text.slice(to) + text.slice(0, to);
    else {
      const lines = text.split('\n');
      text = [...lines, pick(lines), pick(pick(TEXTS).split('\n'))].join('\n');
    }
  }
  return text;
}

function verdictOf(text: string, scenario: AnyScenario): string {
  try {
    return judgeClaim(text, {
      scenarios: [scenario],
      catalogue: [],
      variant: null,
      nearest: (_, names) => names[0] ?? null,
    }).verdict;
  } catch (error) {
    if (error instanceof UsageError) return error.code;
    throw new Error(`not answered: ${JSON.stringify(text)}`, { cause: error });
  }
}

describe('a damaged claim', () => {
  it('is answered or refused, 10,000 times', { timeout: 600_000 }, () => {
    const random = new Random(20_221_122);
    const counts = new Map<string, number>();
    for (let run = 0; run < 10_000; run += 1) {
      const scenario = SCENARIOS[run % SCENARIOS.length] as AnyScenario;
      const verdict = verdictOf(mutated(random), scenario);
      counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
    }
    const seen = [...counts.keys()].toSorted();
    expect(seen).toEqual(['MN601', 'ambiguous', 'not-reachable', 'reachable']);
  });
});

describe('a claim that is too much', () => {
  it.each([
    ['letters', 'x'.repeat(CLAIM_BYTES_MAX + 1)],
    ['steps', 'CPU0: kfree(p)\n'.repeat(513)],
    ['columns', Array.from({ length: 9 }, (_, at) => `T${at}: kfree(p)`).join('\n')],
    ['an open bracket', `CPU0  CPU1\n${'(\n'.repeat(120_000)}`],
    ['lines that go on', `1. kfree(p)\n${'and so on\n'.repeat(25_000)}`],
  ])('of %s is refused', (_, text) => {
    expect(() => parseClaim(text)).toThrow(UsageError);
  });

  it('of nothing is refused', () => {
    for (const text of ['', '\n\n', '# only a comment', '-----']) {
      expect(() => parseClaim(text)).toThrow(/has no step/);
    }
  });

  it('of control characters is refused, with the place of the first', () => {
    expect(() => parseClaim('CPU0: a\u001b[2J')).toThrow(/character 8 is U\+001B/);
  });
});

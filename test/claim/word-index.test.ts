/** Where to look for a claim that names no scenario. */
import { describe, expect, it } from 'vitest';
import { findScenario } from '../../src/catalogue/index.ts';
import { judgeClaim, type ClaimAnswer } from '../../src/claim/judge.ts';
import { mentionsOf } from '../../src/claim/phrase.ts';
import { WordIndex, wordsOf, writeWordIndex } from '../../src/claim/word-index.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';

const NAMES = ['kfd-unregister', 'last-put', 'unregister-exit', 'program/ab-ba'];
const catalogue = NAMES.map((name) => findScenario(name) as AnyScenario);
const index = new WordIndex(
  writeWordIndex(catalogue.map((scenario) => [scenario.name, wordsOf(scenario)])),
);

function candidates(...texts: readonly string[]): string[] {
  const words = { isName: (word: string) => index.has(word), isOperation: () => false };
  const mentions = texts.flatMap((text) => mentionsOf(text, words));
  return index.candidates(mentions, catalogue).map(({ name }) => name);
}

function judge(source: string, scenarios: readonly AnyScenario[] = catalogue): ClaimAnswer {
  return judgeClaim(source, {
    scenarios: null,
    catalogue: scenarios,
    index,
    variant: null,
    nearest: (_, names) => names.find((name) => name.startsWith('mmu_notifier_unreg')) ?? null,
    executionCountMax: 200,
  });
}

describe('the index', () => {
  it('knows the scenarios that run a function', () => {
    expect(candidates('CPU0: kfd_open()')).toEqual(['kfd-unregister']);
    expect(candidates('subscriber_put()')).toEqual(['last-put']);
  });

  it('knows functions by their ends and by their later names', () => {
    expect(candidates('unregister_no_release()')).toEqual(['kfd-unregister', 'last-put']);
    const later = candidates('mmap_write_lock(mm)');
    expect(later).toContain('kfd-unregister');
    expect(candidates('down_write(mm)')).toEqual(expect.arrayContaining(later));
  });

  it('tells those that have all of several', () => {
    expect(candidates('mmu_notifier_unregister()', 'hlist_del_rcu(&mn->hlist)')).toEqual([
      'unregister-exit',
    ]);
    expect(candidates('kfd_open()', 'subscriber_put()')).toEqual([]);
  });

  it('tells all where it knows nothing of what is said', () => {
    expect(candidates('CPU0 frees it')).toEqual(NAMES);
  });

  it('lets no scenario out that it does not know', () => {
    const [, ...known] = catalogue;
    const older = new WordIndex(writeWordIndex(known.map((one) => [one.name, wordsOf(one)])));
    const mentions = mentionsOf('subscriber_put()', {
      isName: () => false,
      isOperation: () => false,
    });
    const found = older.candidates(mentions, catalogue).map(({ name }) => name);
    expect(found).toEqual(['kfd-unregister', 'last-put']);
  });
});

describe('a claim that names no scenario', () => {
  it('is looked for where its steps are', () => {
    const { verdict, variants } = judge(
      'CPU0: hlist_unhashed_lockless(&mn->hlist)\nCPU1: hlist_del_init_rcu(&mn->hlist)\nCPU0: hlist_del_rcu(&mn->hlist)\n',
    );
    expect(verdict).toBe('reachable');
    expect(new Set(variants.map(({ subject }) => subject.scenario.name))).toEqual(
      new Set(['unregister-exit']),
    );
  });

  it('of steps of two scenarios is told which has which', () => {
    const { puzzles } = judge('CPU0: kfd_open()\nCPU1: subscriber_put()\n');
    expect(puzzles).toMatchObject([
      { kind: 'elsewhere', text: 'kfd_open()', scenarios: ['kfd-unregister'] },
      { kind: 'elsewhere', text: 'subscriber_put()', scenarios: ['last-put'] },
    ]);
  });

  it('with a name that nobody knows is told which is nearest', () => {
    const { puzzles } = judge('CPU0: mmu_notifier_unregster(mn)\nCPU1: kfree(mn)\n');
    expect(puzzles).toMatchObject([{ kind: 'unknown', line: 1 }]);
    expect(puzzles[0]?.nearest[0]).toMatch(/^mmu_notifier_unregister/);
  });
});

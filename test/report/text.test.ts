import { expect, test } from 'vitest';
import { checkVariant } from '../../src/check/check-variant.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { VariantResult } from '../../src/check/result.ts';
import { programOf, type Scenario } from '../../src/check/scenario.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { jsonText } from '../../src/report/json.ts';
import {
  describeResult,
  findingOf,
  verdictText,
  type ShownViolation,
} from '../../src/report/text.ts';
import { identityOf } from '../../src/check/shorten.ts';
import { record } from '../../src/trace/record.ts';
import { encodeToken } from '../../src/trace/token.ts';
import {
  shortPlace,
  toyLocksScenario,
  toyUnregisterScenario,
  type Table,
} from '../trace/sample.ts';

interface Checked {
  readonly result: VariantResult;
  readonly shown: readonly ShownViolation[];
}

function check(scenario: Scenario<Kernel, Table>, variant: string): Checked {
  const result = checkVariant(scenario, variant);
  const shown = result.violations.map((violation) => ({
    violation,
    recording: record(programOf(scenario, variant), violation.schedule, allDetectors(), {
      resolvePlace: shortPlace,
      isSought: (finding) => identityOf(finding) === identityOf(violation),
    }),
    token: encodeToken({
      version: '0.1.0',
      scenario: scenario.name,
      variant,
      schedule: violation.schedule,
    }),
  }));
  return { result, shown };
}

const CLEAN: VariantResult = {
  scenario: 'toy-unregister',
  variant: 'fixed',
  models: [],
  expected: { verdict: 'clean' },
  asExpected: true,
  verdict: 'clean',
  complete: true,
  bound: null,
  goals: [
    { name: 'open failed', reached: true },
    { name: 'munmap walked the list', reached: true },
  ],
  executions: 1234,
  blocked: 1,
  steps: 1_234_567,
  violations: [],
  suspicions: [],
};

test('a use after free, from the verdict to the line that replays it', () => {
  const { result, shown } = check(toyUnregisterScenario, 'before');
  expect(`\n${describeResult(result, shown)}\n`).toMatchInlineSnapshot(`
    "
    toy-unregister before (a toy)
    violation: use after free of toy_process
    as expected

         CPU0 (open)                CPU1 (munmap)
         -----------                -------------
         toy_open(&toy_table)                                                              sample.ts:137
      1    atomic_inc(&toy_table.opens)                                                    sample.ts:66
      2    mutex_lock(&toy_table.lock)                                                     sample.ts:67
           toy_create(&toy_table)                                                          sample.ts:68
      3      kzalloc(sizeof(struct toy_process), GFP_KERNEL) → 0x881000000000              sample.ts:55
             <-- allocated
      4      toy_register(): rcu_assign_pointer(toy_table.first, &toy_process)             sample.ts:38
      5      atomic_fetch_add(&toy_table.opens) → 1                                        sample.ts:48
             pr_info: no doorbells left
                                    toy_munmap(&toy_table)                                 sample.ts:95
      6                               rcu_dereference(toy_table.first)                     sample.ts:81
                                          → toy_process@0x881000000000
      7      toy_unregister(): rcu_assign_pointer(toy_table.first, NULL)                   sample.ts:42
      8      kfree(toy_process) <-- freed                                                  sample.ts:61
             return -ENOMEM
                                      toy_invalidate(&toy_process)                         sample.ts:82
      9                                 mutex_lock(&toy_process.lock)                      sample.ts:74
                                        <-- use after free of toy_process

    BUG: use after free of toy_process (24 bytes at 0x881000000000)
    toy_invalidate runs mutex_lock(&toy_process.lock) after toy_process was freed by toy_create

    mutex_lock(&toy_process.lock) by CPU1 (munmap), step 9:
      toy_invalidate  sample.ts:74
      toy_munmap      sample.ts:82
      munmap          sample.ts:95

    Allocated by CPU0 (open), step 3:
      toy_create  sample.ts:55
      toy_open    sample.ts:68
      open        sample.ts:137

    Freed by CPU0 (open), step 8:
      toy_create  sample.ts:61
      toy_open    sample.ts:68
      open        sample.ts:137

    needs 2 preemptions; shown with 3 changes between tasks
    replay: npx mmulab replay mn1_BTAuMS4wDnRveS11bnJlZ2lzdGVyBmJlZm9yZQSAAQEgATh7if8

    6 executions, one for each class of equivalent interleavings — complete
    63 steps taken, no run abandoned
    Execution is sequentially consistent; barriers and reordering of marked accesses are not explored.
    "
  `);
});

test('a deadlock, with who waits for whom', () => {
  const { result, shown } = check(toyLocksScenario, 'before');
  expect(`\n${describeResult(result, shown)}\n`).toMatchInlineSnapshot(`
    "
    toy-locks before
    violation: deadlock on toy_table.lock, toy_table.other
    as expected

         CPU0 (suspend)               resume
         --------------               ------
         toy_suspend(&toy_table)                                                           sample.ts:174
      1    mutex_lock(&toy_table.lock)                                                     sample.ts:153
                                      toy_resume(&toy_table)                               sample.ts:179
      2                                 mutex_lock(&toy_table.other)                       sample.ts:153
           mutex_lock(&toy_table.other) <-- waits for resume                               sample.ts:154
                                        mutex_lock(&toy_table.lock) <-- waits for suspend  sample.ts:154

    BUG: deadlock on toy_table.lock, toy_table.other
    resume waits for toy_table.lock held by suspend, which waits for toy_table.other held by resume

    CPU0 (suspend) waits at mutex_lock(&toy_table.other), held by resume:
      toy_suspend  sample.ts:154
      suspend      sample.ts:174
      holds toy_table.lock since step 1, sample.ts:153

    resume waits at mutex_lock(&toy_table.lock), held by CPU0 (suspend):
      toy_resume  sample.ts:154
      resume      sample.ts:179
      holds toy_table.other since step 2, sample.ts:153

    needs 1 preemption; shown with 1 change between tasks
    replay: npx mmulab replay mn1_BTAuMS4wCXRveS1sb2NrcwZiZWZvcmUCAAEvEO6I

    3 executions, one for each class of equivalent interleavings — complete
    17 steps taken, no run abandoned
    Execution is sequentially consistent; barriers and reordering of marked accesses are not explored.
    "
  `);
});

test('a data race has both sides', () => {
  const { result, shown } = check(toyUnregisterScenario, 'race');
  expect(`\n${describeResult(result, shown)}\n`).toMatchInlineSnapshot(`
    "
    toy-unregister race (a toy)
    violation: data race on toy_table.size

         CPU0 (open)            CPU1 (munmap)
         -----------            -------------
         read toy_table.size                                                               sample.ts:136
         write toy_table.size                                                              sample.ts:136
                                read toy_table.size <-- data race on toy_table.size        sample.ts:102

    BUG: data race on toy_table.size
    toy_table.size: nothing orders the plain read by munmap with the plain write by open

    Read of toy_table.size by CPU1 (munmap), before its first step:
      munmap  sample.ts:102

    Write of toy_table.size by CPU0 (open), before its first step:
      open  sample.ts:136

    needs no preemption; shown with no change between tasks
    replay: npx mmulab replay mn1_BTAuMS4wDnRveS11bnJlZ2lzdGVyBHJhY2UAgR6cJg

    2 executions, one for each class of equivalent interleavings — complete
    38 steps taken, no run abandoned
    Execution is sequentially consistent; barriers and reordering of marked accesses are not explored.
    "
  `);
});

test('several violations are numbered', () => {
  const { result, shown } = check(toyLocksScenario, 'before');
  const lines = describeResult(
    { ...result, violations: [...result.violations, ...result.violations] },
    [...shown, ...shown],
  ).split('\n');
  const title = 'deadlock on toy_table.lock, toy_table.other';
  expect(lines).toContain(`2 violations: ${title} (in 2 places)`);
  expect(lines).toContain(`1 of 2: ${title} in toy_resume`);
  expect(lines).toContain(`2 of 2: ${title} in toy_resume`);
});

test('a clean result says what was explored, that it is complete, and what is abstracted', () => {
  expect(`\n${describeResult(CLEAN, [])}\n`).toMatchInlineSnapshot(`
    "
    toy-unregister fixed
    no violation in 1,234 executions, one for each class of equivalent interleavings — complete
    as expected

    1,234,567 steps taken, 1 run abandoned, since others cover it
    reached: 'open failed', 'munmap walked the list'
    Execution is sequentially consistent; barriers and reordering of marked accesses are not explored.
    "
  `);
});

test('a bounded result names the bound and whether it was asked for', () => {
  const bounded = { ...CLEAN, verdict: 'bounded', complete: false, asExpected: false } as const;
  const texts = (['executions', 'time', 'memory', 'steps', 'first-violation'] as const).map(
    (kind) =>
      verdictText({ ...bounded, bound: { kind, limit: 2000, isRequested: kind === 'executions' } }),
  );
  expect(texts).toMatchInlineSnapshot(`
    [
      "bounded: no violation in 1,234 executions, but the search ended after 2,000 executions, as asked",
      "bounded: no violation in 1,234 executions, but the search ended after 2,000 seconds",
      "bounded: no violation in 1,234 executions, but the search ended at 2,000 MiB of memory",
      "bounded: no violation in 1,234 executions, but the search ended at an execution of 2,000 steps",
      "bounded: no violation in 1,234 executions, but the search ended at the first violation",
    ]
  `);
  const bound = { kind: 'time', limit: 1, isRequested: false } as const;
  expect(`\n${describeResult({ ...bounded, bound }, [])}\n`).toMatchInlineSnapshot(`
    "
    toy-unregister fixed
    bounded: no violation in 1,234 executions, but the search ended after 1 second
    NOT as expected, which is clean

    1,234,567 steps taken, 1 run abandoned, since others cover it
    reached: 'open failed', 'munmap walked the list'
    Execution is sequentially consistent; barriers and reordering of marked accesses are not explored.
    "
  `);
});

test('a vacuous result names the goals that were never reached', () => {
  const goals = [
    { name: 'open failed', reached: false },
    { name: 'munmap walked the list', reached: true },
  ];
  const vacuous = { ...CLEAN, verdict: 'vacuous', asExpected: false, goals } as const;
  expect(`\n${describeResult(vacuous, [])}\n`).toMatchInlineSnapshot(`
    "
    toy-unregister fixed
    vacuous: no violation in 1,234 executions, but none of them reached 'open failed',
      so nothing was shown
    NOT as expected, which is clean

    1,234,567 steps taken, 1 run abandoned, since others cover it
    reached: 'munmap walked the list'
    never reached: 'open failed'
    Execution is sequentially consistent; barriers and reordering of marked accesses are not explored.
    "
  `);
});

test('what was expected is told when it did not come', () => {
  const expected = {
    verdict: 'violation',
    kind: 'use-after-free',
    object: 'gru',
    invariant: 'I1',
  } as const;
  const text = describeResult({ ...CLEAN, expected, asExpected: false }, []);
  expect(text).toContain('NOT as expected, which is violation: use after free of gru, breaking I1');
});

test('a recording that does not show the violation is a mistake of ours', () => {
  const { shown } = check(toyLocksScenario, 'before');
  const { violation, recording } = shown[0] as ShownViolation;
  expect(() => findingOf({ ...recording, findings: [] }, violation)).toThrow(/the recording shows/);
});

test('the JSON document has its keys in a fixed order', () => {
  expect(jsonText([check(toyLocksScenario, 'before')])).toMatchInlineSnapshot(`
    "{
      "schemaVersion": 1,
      "results": [
        {
          "scenario": "toy-locks",
          "variant": "before",
          "models": [],
          "expected": {
            "verdict": "violation",
            "kind": "deadlock"
          },
          "asExpected": true,
          "verdict": "violation",
          "complete": true,
          "goals": [],
          "executions": 3,
          "blocked": 0,
          "steps": 17,
          "violations": [
            {
              "kind": "deadlock",
              "object": "toy_table.lock, toy_table.other",
              "message": "resume waits for toy_table.lock held by suspend, which waits for toy_table.other held by resume",
              "preemptions": 1,
              "fewestPreemptions": true,
              "switches": 1,
              "token": "mn1_BTAuMS4wCXRveS1sb2NrcwZiZWZvcmUCAAEvEO6I",
              "schedule": [
                {
                  "step": 1,
                  "task": "suspend",
                  "cpu": 0,
                  "function": "toy_suspend",
                  "operation": "mutex_lock(&toy_table.lock)",
                  "result": null,
                  "place": "sample.ts:153"
                },
                {
                  "step": 2,
                  "task": "resume",
                  "cpu": null,
                  "function": "toy_resume",
                  "operation": "mutex_lock(&toy_table.other)",
                  "result": null,
                  "place": "sample.ts:153"
                }
              ]
            }
          ]
        }
      ]
    }
    "
  `);
});

test('in JSON a bound and an invariant are there only if they are', () => {
  const bound = { kind: 'time', limit: 60, isRequested: true } as const;
  const bounded = { ...CLEAN, verdict: 'bounded', complete: false, bound } as const;
  const [first, second] = JSON.parse(
    jsonText([
      { result: bounded, shown: [] },
      { result: CLEAN, shown: [] },
    ]),
  ).results as Record<string, unknown>[];
  expect(first?.['bound']).toEqual({ kind: 'time', limit: 60, requested: true });
  expect(second).not.toHaveProperty('bound');
});

test('two checks of the same variant give the same bytes', () => {
  const texts = [1, 2].map(() => jsonText([check(toyUnregisterScenario, 'before')]));
  expect(texts[0]).toBe(texts[1]);
});

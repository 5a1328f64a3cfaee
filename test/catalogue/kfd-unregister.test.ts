import { expect, test } from 'vitest';
import { kfdUnregister } from '../../src/catalogue/series/kfd-unregister.ts';
import { checkVariant } from '../../src/check/check-variant.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { replay } from '../../src/check/replay.ts';
import { programOf } from '../../src/check/scenario.ts';
import { identityOf } from '../../src/check/shorten.ts';

function replayed(variant: string, schedule: Parameters<typeof replay>[1]) {
  const { kernel, diverged } = replay(programOf(kfdUnregister, variant), schedule, {
    watches: allDetectors(),
  });
  expect(diverged).toBeNull();
  return kernel.findings.map((finding) => identityOf(finding));
}

test('in v5.3 a walker of the notifiers uses the kfd_process that the unwind has freed', () => {
  const result = checkVariant(kfdUnregister, 'v5.3');
  expect(result).toMatchObject({ verdict: 'violation', complete: true, asExpected: true });
  expect(new Set(result.violations.map((one) => `${one.kind} ${one.object}`))).toEqual(
    new Set(['use-after-free kfd_process']),
  );
  const [first] = result.violations;
  // The very access that the commit message names.
  expect(first?.message).toBe(
    'kfd_process.mmu_notifier.ops is read by __mmu_notifier_invalidate_range_start after ' +
      'kfd_process was freed by create_process',
  );
  for (const violation of result.violations) {
    expect(replayed('v5.3', violation.schedule)).toContain(identityOf(violation));
  }
});

test('as the series makes it no interleaving breaks it, and every goal is reached', () => {
  const result = checkVariant(kfdUnregister, 'series');
  expect(result).toMatchObject({
    verdict: 'clean',
    complete: true,
    asExpected: true,
    blocked: 0,
    violations: [],
    suspicions: [],
  });
  expect(result.goals.every((goal) => goal.reached)).toBe(true);
});

test('in v5.3 with procfs the caller stores into an ERR_PTR', () => {
  const result = checkVariant(kfdUnregister, 'v5.3-procfs');
  expect(result).toMatchObject({ verdict: 'violation', complete: true, asExpected: true });
  expect(result.violations[0]).toMatchObject({
    kind: 'err-ptr-dereference',
    object: 'ERR_PTR(-ENOMEM)',
  });
});

test('in v5.3 the unwind forgets its reference to the lead thread', () => {
  const result = checkVariant(kfdUnregister, 'v5.3-lead-thread');
  expect(result).toMatchObject({ verdict: 'violation', complete: true, asExpected: true });
  expect(result.violations).toHaveLength(1);
  expect(result.violations[0]).toMatchObject({ kind: 'leak', object: 'task_struct' });
});

import { expect, test } from 'vitest';
import type { RecordedEvent, RecordedFinding, Recording } from '../../src/trace/recording.ts';
import { lineAt, recordLocks, recordToy } from './sample.ts';

/** `open` publishes, `munmap` finds the object, `open` frees it and ends, `munmap` goes on. */
const FREED_BEFORE_LOCK = '0000100001';
/** The same, with `munmap` in its own section when the object goes away. */
const FREED_BEFORE_PLAIN_USE = '00001000011';

function only(recording: Recording): RecordedFinding {
  expect(recording.findings.map((finding) => finding.message)).toHaveLength(1);
  return recording.findings[0] as RecordedFinding;
}

function callsAndReturns(events: readonly RecordedEvent[]): string[] {
  return events.flatMap((event) => {
    if (event.kind === 'call') return [`${event.function}(${event.args})`];
    if (event.kind === 'return') return [`${event.function} = ${event.value ?? 'void'}`];
    return event.kind === 'note' ? [event.text] : [];
  });
}

test('each step names its task, CPU, function, operation and result', () => {
  const { steps } = recordToy('before', FREED_BEFORE_LOCK);
  expect(
    steps.map(
      (step) => `${step.cpu} ${step.taskName} ${step.function}: ${step.operation} = ${step.result}`,
    ),
  ).toMatchInlineSnapshot(`
    [
      "0 open toy_open: atomic_inc(&toy_table.opens) = null",
      "0 open toy_open: mutex_lock(&toy_table.lock) = null",
      "0 open toy_create: kzalloc(sizeof(struct toy_process), GFP_KERNEL) = toy_process@0x881000000000",
      "0 open toy_register: rcu_assign_pointer(toy_table.first, &toy_process) = null",
      "1 munmap toy_munmap: rcu_dereference(toy_table.first) = toy_process@0x881000000000",
      "0 open toy_create: atomic_fetch_add(&toy_table.opens) = 1",
      "0 open toy_unregister: rcu_assign_pointer(toy_table.first, NULL) = null",
      "0 open toy_create: kfree(toy_process) = null",
      "0 open toy_open: mutex_unlock(&toy_table.lock) = null",
      "1 munmap toy_invalidate: mutex_lock(&toy_process.lock) = null",
    ]
  `);
});

test('the place of a step is the line of its yield*', () => {
  const { steps } = recordToy('before', FREED_BEFORE_LOCK);
  expect(steps.map((step) => lineAt(step.place))).toMatchInlineSnapshot(`
    [
      "yield* atomicInc(table.opens);",
      "yield* mutexLock(table.lock);",
      "const toy = yield* kzalloc(Toy, GFP_KERNEL);",
      "yield* rcuAssignPointer(table, 'first', toy);",
      "const toy = yield* rcuDereference(table, 'first');",
      "const before = yield* atomicFetchAdd(table.opens, -1);",
      "yield* rcuAssignPointer(table, 'first', null);",
      "yield* kfree(toy);",
      "yield* mutexUnlock(table.lock);",
      "yield* mutexLock(toy.lock);",
    ]
  `);
});

test('the stack of a step has the line of each call on the way', () => {
  const step = recordToy('before', '000').steps[2];
  expect(step?.stack.map((frame) => [frame.function, lineAt(frame.place)])).toMatchInlineSnapshot(`
    [
      [
        "open",
        "yield* toyOpen(table);",
      ],
      [
        "toy_open",
        "const error = yield* toyCreate(table);",
      ],
      [
        "toy_create",
        "const toy = yield* kzalloc(Toy, GFP_KERNEL);",
      ],
    ]
  `);
});

test('calls and returns belong to the step before them, with arguments and values', () => {
  const { steps, tasks } = recordToy('before', FREED_BEFORE_LOCK);
  expect(callsAndReturns(tasks[0]?.events ?? [])).toEqual(['toy_open(&toy_table)']);
  expect(steps.map((step) => callsAndReturns(step.events))).toMatchInlineSnapshot(`
    [
      [],
      [
        "toy_create(&toy_table)",
      ],
      [
        "toy_register(&toy_table, &toy_process)",
      ],
      [
        "toy_register = void",
        "toy_create(&toy_table)",
      ],
      [
        "toy_invalidate(&toy_process)",
      ],
      [
        "toy_create = -ENOMEM",
        "pr_info: no doorbells left",
        "toy_unregister(&toy_table)",
      ],
      [
        "toy_unregister = void",
      ],
      [
        "toy_create = -ENOMEM",
      ],
      [
        "toy_open = -ENOMEM",
        "open = void",
      ],
      [],
    ]
  `);
});

test('an operation on freed memory is a finding at the operation, which has no result', () => {
  const recording = recordToy('before', FREED_BEFORE_LOCK);
  const finding = only(recording);
  expect(finding).toMatchObject({
    kind: 'use-after-free',
    isAtOperation: true,
    step: 9,
    taskName: 'munmap',
    function: 'toy_invalidate',
    access: { path: 'mutex_lock(&toy_process.lock)', mode: 'use' },
  });
  expect(recording.steps[9]?.events).toEqual([{ kind: 'finding', finding: 0 }]);
});

test('a plain field of freed memory is found at the line that touches it', () => {
  const finding = only(recordToy('plain', FREED_BEFORE_PLAIN_USE));
  expect(finding).toMatchObject({ kind: 'use-after-free', isAtOperation: false });
  expect(finding.access).toEqual({ path: 'toy_process.pages', mode: 'read' });
  expect(lineAt(finding.place)).toBe('toy.pages -= 1;');
});

test('plain code that is a step of its own is called by what it touches', () => {
  const recording = recordToy('plain', '000011p00001');
  expect(recording.steps.at(-1)).toMatchObject({
    operation: 'read toy_process.pages',
    result: null,
  });
  expect(lineAt(recording.steps.at(-1)?.place ?? null)).toBe('toy.pages -= 1;');
  expect(only(recording)).toMatchObject({ step: 10, isAtOperation: true });
});

test('the memory of a finding tells where it was allocated, freed and used', () => {
  const { memory } = only(recordToy('before', '00001100001'));
  expect(memory).toMatchObject({ name: 'toy_process', kind: 'slab', size: 24 });
  expect(lineAt(memory?.allocated?.place ?? null)).toMatch(/kzalloc\(Toy, GFP_KERNEL\)/);
  expect(memory?.allocated).toMatchObject({ step: 2, taskName: 'open', function: 'toy_create' });
  expect(lineAt(memory?.freed?.place ?? null)).toBe('yield* kfree(toy);');
  expect(
    memory?.touched.map((use) => [use.taskName, use.step, use.mode, use.path, lineAt(use.place)]),
  ).toMatchInlineSnapshot(`
    [
      [
        "open",
        2,
        "write",
        "toy_process.pages",
        "toy.pages = 1;",
      ],
      [
        "munmap",
        5,
        "read",
        "toy_process.pages",
        "const { pages } = toy;",
      ],
    ]
  `);
});

test('accesses that have nothing to do with a finding are not kept', () => {
  const { steps } = recordToy('before', '0000000001');
  expect(steps.flatMap((step) => step.events).filter(({ kind }) => kind === 'access')).toEqual([]);
});

test('an assertion that fires is an event, and the finding is at its line', () => {
  const recording = recordToy('bug', '1');
  const finding = only(recording);
  expect(finding).toMatchObject({ kind: 'bug', access: null, isAtOperation: false });
  expect(lineAt(finding.place)).toMatch(/^bugOn\(/);
  const mishaps = recording.steps[0]?.events.filter(({ kind }) => kind === 'mishap');
  expect(mishaps).toMatchObject([{ text: 'BUG_ON(list_empty(&toy_table))' }]);
});

test('what is found before a task has taken a step has a place but no step', () => {
  const [finding] = recordToy('race', '').findings;
  expect(finding).toMatchObject({ kind: 'data-race', step: null, task: 1, taskName: 'munmap' });
  expect(lineAt(finding?.place ?? null)).toBe('table.size += 1;');
});

test('without the finding that is sought the execution goes on to its end', () => {
  const finding = only(recordToy('leak', '111'));
  expect(finding).toMatchObject({ kind: 'leak', step: null, task: null });
  expect(lineAt(finding.memory?.allocated?.place ?? null)).toMatch(/kzalloc/);
});

test('the recording ends with the schedule once the finding is there', () => {
  expect(recordToy('bug', '1').steps).toHaveLength(1);
  expect(recordToy('bug', '1', { isSought: () => false }).steps.length).toBeGreaterThan(1);
});

test('tasks that wait for ever tell for whom, and which locks they hold since when', () => {
  const { waiting } = recordLocks('01');
  expect(
    waiting.map(({ taskName, operation, waitsFor, holds }) => ({
      taskName,
      operation,
      waitsFor,
      holds: holds.map(({ lock, step, place }) => [lock, step, lineAt(place)]),
    })),
  ).toMatchInlineSnapshot(`
    [
      {
        "holds": [
          [
            "toy_table.lock",
            0,
            "yield* mutexLock(table[first]);",
          ],
        ],
        "operation": "mutex_lock(&toy_table.other)",
        "taskName": "suspend",
        "waitsFor": [
          1,
        ],
      },
      {
        "holds": [
          [
            "toy_table.other",
            1,
            "yield* mutexLock(table[first]);",
          ],
        ],
        "operation": "mutex_lock(&toy_table.lock)",
        "taskName": "resume",
        "waitsFor": [
          0,
        ],
      },
    ]
  `);
});

test('a task on a CPU of its own has no CPU number', () => {
  expect(recordLocks('01').tasks.map((task) => task.cpu)).toEqual([0, null]);
});

test('a schedule that does not fit is followed as far as it goes', () => {
  const { divergence, steps } = recordLocks('0110');
  expect(divergence).toEqual({
    step: 2,
    reason: "task 'resume' should go on, but it is blocked at mutex_lock(&toy_table.lock)",
  });
  expect(steps).toHaveLength(2);
});

test('recording the same schedule twice gives the same recording', () => {
  const texts = [1, 2].map(() => JSON.stringify(recordToy('before', FREED_BEFORE_LOCK)));
  expect(texts[0]).toBe(texts[1]);
});

test('the length of JavaScript stacks is as before', () => {
  const { stackTraceLimit } = Error;
  recordToy('before', '0');
  expect(Error.stackTraceLimit).toBe(stackTraceLimit);
});

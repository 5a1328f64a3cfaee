import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { diagram, shareOut, type DiagramOptions } from '../../src/report/diagram.ts';
import type {
  RecordedEvent,
  RecordedStep,
  RecordedTask,
  Recording,
} from '../../src/trace/recording.ts';
import { recordLocks, recordToy } from '../trace/sample.ts';

/** The picture, with a line break before it so that snapshots keep their columns. */
function picture(recording: Recording, options: DiagramOptions = {}): string {
  return `\n${diagram(recording, recording.findings[0] ?? null, options)}\n`;
}

const FREED = recordToy('before', '00001100001');

test('a use after free: calls are indented, the life of the object and its use are marked', () => {
  expect(picture(FREED)).toMatchInlineSnapshot(`
    "
         CPU0 (open)                CPU1 (munmap)
         -----------                -------------
         toy_open(&toy_table)                                                              sample.ts:137
      1    atomic_inc(&toy_table.opens)                                                    sample.ts:66
      2    mutex_lock(&toy_table.lock)                                                     sample.ts:67
           toy_create(&toy_table)                                                          sample.ts:68
      3      kzalloc(sizeof(struct toy_process), GFP_KERNEL) → 0x881000000000              sample.ts:55
             <-- allocated
      4      toy_register(): rcu_assign_pointer(toy_table.first, &toy_process)             sample.ts:38
                                    toy_munmap(&toy_table)                                 sample.ts:95
      5                               rcu_dereference(toy_table.first)                     sample.ts:81
                                          → toy_process@0x881000000000
                                      toy_invalidate(&toy_process)                         sample.ts:82
      6                                 mutex_lock(&toy_process.lock)                      sample.ts:74
      7      atomic_fetch_add(&toy_table.opens) → 1                                        sample.ts:48
             pr_info: no doorbells left
      8      toy_unregister(): rcu_assign_pointer(toy_table.first, NULL)                   sample.ts:42
      9      kfree(toy_process) <-- freed                                                  sample.ts:61
             return -ENOMEM
     10    mutex_unlock(&toy_table.lock)                                                   sample.ts:69
           return -ENOMEM
     11                                 mutex_unlock(&toy_process.lock)                    sample.ts:76
                                        <-- use after free of toy_process
    "
  `);
});

test('on a narrow page texts wrap inside their column', () => {
  expect(picture(FREED, { width: 60 })).toMatchInlineSnapshot(`
    "
         CPU0 (open)                CPU1 (munmap)
         -----------                -------------
         toy_open(&toy_table)
      1   atomic_inc(&toy_table.opens)
      2   mutex_lock(&toy_table.lock)
          toy_create(&toy_table)
      3    kzalloc(sizeof(struct toy_process), GFP_KERNEL)
               → 0x881000000000 <-- allocated
           toy_register(&toy_table, &toy_process)
      4     rcu_assign_pointer(toy_table.first, &toy_process)
                                    toy_munmap(&toy_table)
      5                              rcu_dereference(
                                         toy_table.first)
                                         → toy_process@0x8810000
                                         00000
                                     toy_invalidate()
      6                               mutex_lock(
                                          &toy_process.lock)
      7    atomic_fetch_add(&toy_table.opens) → 1
           pr_info: no doorbells left
           toy_unregister(&toy_table)
      8     rcu_assign_pointer(toy_table.first, NULL)
      9    kfree(toy_process) <-- freed
           return -ENOMEM
     10   mutex_unlock(&toy_table.lock)
          return -ENOMEM
     11                               mutex_unlock(
                                          &toy_process.lock)
                                      <-- use after free of
                                          toy_process
    "
  `);
});

test('places are left out on demand', () => {
  expect(picture(FREED, { hasPlaces: false })).toMatchInlineSnapshot(`
    "
         CPU0 (open)                CPU1 (munmap)
         -----------                -------------
         toy_open(&toy_table)
      1    atomic_inc(&toy_table.opens)
      2    mutex_lock(&toy_table.lock)
           toy_create(&toy_table)
      3      kzalloc(sizeof(struct toy_process), GFP_KERNEL) → 0x881000000000 <-- allocated
      4      toy_register(): rcu_assign_pointer(toy_table.first, &toy_process)
                                    toy_munmap(&toy_table)
      5                               rcu_dereference(toy_table.first) → toy_process@0x881000000000
                                      toy_invalidate(&toy_process)
      6                                 mutex_lock(&toy_process.lock)
      7      atomic_fetch_add(&toy_table.opens) → 1
             pr_info: no doorbells left
      8      toy_unregister(): rcu_assign_pointer(toy_table.first, NULL)
      9      kfree(toy_process) <-- freed
             return -ENOMEM
     10    mutex_unlock(&toy_table.lock)
           return -ENOMEM
     11                                 mutex_unlock(&toy_process.lock)
                                        <-- use after free of toy_process
    "
  `);
});

test('a plain access is drawn only if it is the one that is wrong', () => {
  expect(picture(recordToy('plain', '00001000011'))).toMatchInlineSnapshot(`
    "
         CPU0 (open)                CPU1 (munmap)
         -----------                -------------
         toy_open(&toy_table)                                                              sample.ts:137
      1    atomic_inc(&toy_table.opens)                                                    sample.ts:66
      2    mutex_lock(&toy_table.lock)                                                     sample.ts:67
           toy_create(&toy_table)                                                          sample.ts:68
      3      kzalloc(sizeof(struct toy_process), GFP_KERNEL) → 0x881000000000              sample.ts:55
             <-- allocated
      4      toy_register(): rcu_assign_pointer(toy_table.first, &toy_process)             sample.ts:38
      5                             rcu_dereference(toy_table.first)                       sample.ts:98
                                        → toy_process@0x881000000000
      6      atomic_fetch_add(&toy_table.opens) → 1                                        sample.ts:48
             pr_info: no doorbells left
      7      toy_unregister(): rcu_assign_pointer(toy_table.first, NULL)                   sample.ts:42
      8      kfree(toy_process) <-- freed                                                  sample.ts:61
             return -ENOMEM
      9    mutex_unlock(&toy_table.lock)                                                   sample.ts:69
           return -ENOMEM
     10                             mutex_lock(&toy_table.other)                           sample.ts:87
                                    read toy_process.pages                                 sample.ts:88
                                    <-- use after free of toy_process
    "
  `);
});

test('plain code that is a step of its own is a row of its own', () => {
  const rows = picture(recordToy('plain', '000011p00001'), { hasPlaces: false }).split('\n');
  expect(rows.at(-2)).toMatch(/^ 11 +read toy_process.pages <-- use after free of toy_process$/);
});

test('both sides of a data race are drawn', () => {
  expect(picture(recordToy('race', ''))).toMatchInlineSnapshot(`
    "
         CPU0 (open)            CPU1 (munmap)
         -----------            -------------
         read toy_table.size                                                               sample.ts:136
         write toy_table.size                                                              sample.ts:136
                                read toy_table.size <-- data race on toy_table.size        sample.ts:102
    "
  `);
});

test('an assertion that fires is a row', () => {
  expect(picture(recordToy('bug', '1'))).toMatchInlineSnapshot(`
    "
         CPU1 (munmap)
         -------------
      1  atomic_inc(&toy_table.opens)                                                      sample.ts:108
         BUG_ON(list_empty(&toy_table)) <-- BUG: list_empty(&toy_table)                    sample.ts:109
    "
  `);
});

test('a leak marks the allocation', () => {
  expect(picture(recordToy('leak', '1110000000000'))).toMatchInlineSnapshot(`
    "
         CPU0 (open)                CPU1 (munmap)
         -----------                -------------
      1                             kzalloc(sizeof(struct toy_process), GFP_KERNEL)        sample.ts:112
                                        → 0x882000000000 <-- allocated
      2                             mutex_lock(&toy_table.lock)                            sample.ts:114
      3                             mutex_unlock(&toy_table.lock)                          sample.ts:115
         toy_open(&toy_table)                                                              sample.ts:137
      4    atomic_inc(&toy_table.opens)                                                    sample.ts:66
      5    mutex_lock(&toy_table.lock)                                                     sample.ts:67
           toy_create(&toy_table)                                                          sample.ts:68
      6      kzalloc(sizeof(struct toy_process), GFP_KERNEL) → 0x881000000000              sample.ts:55
      7      toy_register(): rcu_assign_pointer(toy_table.first, &toy_process)             sample.ts:38
      8      atomic_fetch_add(&toy_table.opens) → 1                                        sample.ts:48
             pr_info: no doorbells left
      9      toy_unregister(): rcu_assign_pointer(toy_table.first, NULL)                   sample.ts:42
     10      kfree(toy_process)                                                            sample.ts:61
             return -ENOMEM
     11    mutex_unlock(&toy_table.lock)                                                   sample.ts:69
           return -ENOMEM
    "
  `);
});

test('a deadlock ends with what each task waits for', () => {
  expect(picture(recordLocks('01'))).toMatchInlineSnapshot(`
    "
         CPU0 (suspend)               resume
         --------------               ------
         toy_suspend(&toy_table)                                                           sample.ts:174
      1    mutex_lock(&toy_table.lock)                                                     sample.ts:153
                                      toy_resume(&toy_table)                               sample.ts:179
      2                                 mutex_lock(&toy_table.other)                       sample.ts:153
           mutex_lock(&toy_table.other) <-- waits for resume                               sample.ts:154
                                        mutex_lock(&toy_table.lock) <-- waits for suspend  sample.ts:154
    "
  `);
});

test('emphasis goes through the style and does not move anything', () => {
  const style = {
    bold: (text: string) => `<b>${text}</b>`,
    red: (text: string) => `<r>${text}</r>`,
    green: (text: string) => `<g>${text}</g>`,
    dim: (text: string) => `<d>${text}</d>`,
  };
  const styled = picture(FREED, { style });
  expect(styled).toContain('<r><-- use after free of toy_process</r>');
  const plain = styled.replaceAll(/<\/?[brgd]>/g, '').replaceAll(/ +$/gm, '');
  expect(plain).toBe(picture(FREED));
});

test('a place inside the kernel is left for that of its caller', () => {
  const self = task(0, 'open', 0);
  const stack = [
    { function: 'kfd_open', place: 'src/drivers/kfd.ts:7' },
    { function: 'synchronize_srcu', place: 'src/kernel/srcu.ts:90' },
  ];
  const inside = { ...step(0, self, 'synchronize_srcu(&s): ends'), stack, place: stack[1]!.place };
  expect(picture(recordingOf([self], [inside]))).toContain('  kfd.ts:7');
});

test('no line is longer than the page, unless a word is', () => {
  fc.assert(
    fc.property(fc.integer({ min: 60, max: 160 }), fc.boolean(), (width, hasPlaces) => {
      const lines = picture(FREED, { width, hasPlaces }).split('\n');
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
    }),
  );
});

// ---- made-up recordings, for what the sample does not do ---------------------------------------

function task(index: number, name: string, cpu: number | null): RecordedTask {
  return { index, name, kind: 'thread', cpu, spawnedAt: null, events: [] };
}

function step(index: number, by: RecordedTask, operation: string): RecordedStep {
  return {
    index,
    task: by.index,
    taskName: by.name,
    taskKind: by.kind,
    cpu: by.cpu,
    function: by.name,
    stack: [],
    operation,
    result: null,
    isError: false,
    outcome: 0,
    place: null,
    events: [],
  };
}

function call(name: string): RecordedEvent {
  return { kind: 'call', function: name, args: '&a', place: null };
}

function done(name: string, value: string | null = null): RecordedEvent {
  return { kind: 'return', function: name, value, isError: value?.startsWith('-') ?? false };
}

function recordingOf(tasks: RecordedTask[], steps: RecordedStep[]): Recording {
  return { tasks, steps, findings: [], waiting: [], goals: [], log: [], divergence: null };
}

describe('columns', () => {
  const tasks = [task(0, 'srcu callback', null), task(1, 'munmap', 1), task(2, 'open', 0)];
  const steps = tasks.map((one, index) => step(index, one, `step_of(${one.name})`));

  test('come in the order of the CPUs, those without a number last', () => {
    expect(picture(recordingOf(tasks, steps))).toMatchInlineSnapshot(`
      "
           CPU0 (open)     CPU1 (munmap)     srcu callback
           -----------     -------------     -------------
        1                                    step_of(srcu callback)
        2                  step_of(munmap)
        3  step_of(open)
      "
    `);
  });

  test('are not drawn for tasks that do nothing', () => {
    expect(picture(recordingOf(tasks, steps.slice(1, 2)))).not.toContain('open');
  });

  test('more than four become a list', () => {
    const many = Array.from({ length: 5 }, (_, index) => task(index, `reader-${index}`, index));
    const own = many.map((one, index) => step(index, one, `READ_ONCE(table.slot[${index}])`));
    expect(picture(recordingOf(many, own))).toMatchInlineSnapshot(`
      "
        1  CPU0 (reader-0)  READ_ONCE(table.slot[0])
        2  CPU1 (reader-1)  READ_ONCE(table.slot[1])
        3  CPU2 (reader-2)  READ_ONCE(table.slot[2])
        4  CPU3 (reader-3)  READ_ONCE(table.slot[3])
        5  CPU4 (reader-4)  READ_ONCE(table.slot[4])
      "
    `);
  });
});

const one = task(0, 'open', 0);

test('calls that do nothing but one operation share its row', () => {
  const recording = recordingOf(
    [{ ...one, events: [call('kfd_open'), call('kfd_lock')] }],
    [
      { ...step(0, one, 'mutex_lock(&a)'), events: [done('kfd_lock'), call('kfd_count')] },
      { ...step(1, one, 'atomic_inc(b)'), events: [done('kfd_count'), done('kfd_open')] },
    ],
  );
  expect(picture(recording)).toMatchInlineSnapshot(`
    "
         CPU0 (open)
         -----------
         kfd_open(&a)
      1    kfd_lock(): mutex_lock(&a)
      2    kfd_count(): atomic_inc(b)
    "
  `);
});

test('calls whose operations bear their name need no row', () => {
  const recording = recordingOf(
    [{ ...one, events: [call('synchronize_srcu')] }],
    [
      step(0, one, 'synchronize_srcu(&s): grace period starts'),
      { ...step(1, one, 'synchronize_srcu(&s): ends'), events: [done('synchronize_srcu')] },
    ],
  );
  expect(picture(recording)).toMatchInlineSnapshot(`
    "
         CPU0 (open)
         -----------
      1  synchronize_srcu(&s): grace period starts
      2  synchronize_srcu(&s): ends
    "
  `);
});

test('calls of a function by one of the same name are one call', () => {
  const recording = recordingOf(
    [{ ...one, events: [call('kfd_open'), call('kfd_open')] }],
    [step(0, one, 'mutex_lock(&a)'), step(1, one, 'mutex_unlock(&a)')],
  );
  expect(picture(recording)).toMatchInlineSnapshot(`
    "
         CPU0 (open)
         -----------
         kfd_open(&a)
      1    mutex_lock(&a)
      2    mutex_unlock(&a)
    "
  `);
});

test('calls that fail without doing anything have their error beside them', () => {
  const recording = recordingOf(
    [one],
    [
      {
        ...step(0, one, 'mutex_lock(&a)'),
        events: [call('kfd_probe'), done('kfd_probe', '-ENODEV')],
      },
    ],
  );
  expect(picture(recording)).toMatchInlineSnapshot(`
    "
         CPU0 (open)
         -----------
      1  mutex_lock(&a)
         kfd_probe(&a) → -ENODEV
    "
  `);
});

test('calls that hand an error up tell it once', () => {
  const recording = recordingOf(
    [{ ...one, events: [call('kfd_ioctl'), call('kfd_create')] }],
    [
      step(0, one, 'mutex_lock(&a)'),
      {
        ...step(1, one, 'mutex_unlock(&a)'),
        events: [done('kfd_create', '-EINVAL'), done('kfd_ioctl', '-EINVAL')],
      },
    ],
  );
  expect(picture(recording)).toMatchInlineSnapshot(`
    "
         CPU0 (open)
         -----------
         kfd_ioctl(&a)
           kfd_create(&a)
      1      mutex_lock(&a)
      2      mutex_unlock(&a)
             return -EINVAL
    "
  `);
});

test('calls that have not come to an operation when the recording ends are not drawn', () => {
  const recording = recordingOf(
    [one],
    [{ ...step(0, one, 'mutex_lock(&a)'), events: [call('kfd_open')] }],
  );
  expect(picture(recording)).not.toContain('kfd_open');
});

describe('sharing out', () => {
  test('gives to those who need little what they need, and the rest to the others alike', () => {
    expect(shareOut([10, 80, 90], 100)).toEqual([10, 45, 45]);
  });

  test('gives nothing that nobody needs', () => {
    expect(shareOut([10, 20], 100)).toEqual([10, 20]);
  });

  test('never gives more than there is', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(200), { minLength: 1 }), fc.nat(400), (needs, room) => {
        const widths = shareOut(needs, room);
        expect(widths.reduce((sum, width) => sum + width, 0)).toBeLessThanOrEqual(room);
        expect(widths.every((width, at) => width <= (needs[at] as number))).toBe(true);
      }),
    );
  });
});

/** Engines of devices: commands in order, halts, faults and fences. */
import { expect, test } from 'vitest';
import { EFAULT } from '../../src/base/errno.ts';
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { OptimalDpor } from '../../src/check/optimal-dpor.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import {
  commandQueue,
  haltQueue,
  resumeQueue,
  startEngine,
  submitCommand,
  takeCommandsBack,
} from '../../src/device/command-queue.ts';
import {
  answerFault,
  awaitAnswer,
  faultQueue,
  nextFault,
  reportFault,
} from '../../src/device/fault-queue.ts';
import {
  dmaFenceAlloc,
  dmaFenceGet,
  dmaFencePut,
  dmaFenceSignal,
  dmaFenceWait,
  type DmaFence,
} from '../../src/device/fence.ts';
import { atomic, atomicInc, atomicRead } from '../../src/kernel/atomic.ts';
import { fn } from '../../src/kernel/call.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct, type InstanceOf } from '../../src/kernel/struct.ts';

interface Command {
  readonly name: string;
  readonly fence?: DmaFence;
}

const Engine = struct('engine', {
  queue: commandQueue<Command>(),
  faults: faultQueue(),
  /** Commands begun or ended so far. */
  ticks: atomic(0),
});
type Engine = InstanceOf<typeof Engine>;

interface Rig {
  readonly engine: Engine;
  /** What happened, in order. */
  readonly log: string[];
}

type Task = (rig: Rig) => Body<unknown>;

/** What can be logged, each order once. */
function explore(tasks: Readonly<Record<string, Task>>) {
  const scenario = defineScenario<Rig>({
    name: 'engine',
    variants: { v: {} },
    setup(machine) {
      const engine = allocateStatic(machine, Engine);
      const log: string[] = [];
      const execute = fn(function* execute({ name, fence }: Command) {
        log.push(`${name} begins`);
        yield* atomicInc(engine.ticks);
        log.push(`${name} ends`);
        if (fence === undefined) return;
        yield* dmaFenceSignal(fence);
        yield* dmaFencePut(fence);
      });
      machine.runNow(startEngine(engine.queue as never, execute as never, 'gpu'));
      return { engine, log };
    },
    tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
    *finally({ log }) {
      logs.add(log.join(', '));
    },
  });
  const logs = new Set<string>();
  const findings = new Set<string>();
  const how = {
    watches: allDetectors(),
    onExecution({ kernel }: { kernel: { findings: readonly { message: string }[] } }) {
      for (const { message } of kernel.findings) findings.add(message);
      return false;
    },
  };
  const program = programOf(scenario, 'v');
  const source = new SourceDpor(program, how).run();
  const seen = [...logs].toSorted();
  logs.clear();
  const optimal = new OptimalDpor(program, how).run();
  expect(source.isComplete && optimal.isComplete).toBe(true);
  expect(optimal.executions).toBe(source.executions);
  expect([...logs].toSorted()).toEqual(seen);
  return { seen, findings: [...findings], executions: optimal.executions };
}

test('commands are executed in the order of their submission', () => {
  const { seen, findings, executions } = explore({
    *driver({ engine }) {
      yield* submitCommand(engine.queue, { name: 'a' });
      yield* submitCommand(engine.queue, { name: 'b' });
    },
  });
  expect(seen).toEqual(['a begins, a ends, b begins, b ends']);
  expect(findings).toEqual([]);
  expect(executions).toBe(1);
});

test('a halt comes before a command or after it, never in its middle', () => {
  const { seen, findings } = explore({
    *driver({ engine }) {
      yield* submitCommand(engine.queue, { name: 'a' });
    },
    *eviction({ engine, log }) {
      yield* haltQueue(engine.queue);
      log.push('halted');
      const before = yield* atomicRead(engine.ticks);
      const after = yield* atomicRead(engine.ticks);
      log.push(before === after ? 'stands still' : 'goes on');
      yield* resumeQueue(engine.queue);
    },
  });
  expect(seen).toEqual([
    'a begins, a ends, halted, stands still',
    'halted, stands still, a begins, a ends',
  ]);
  expect(findings).toEqual([]);
});

test('a command that was taken back is not executed', () => {
  const { seen } = explore({
    *driver({ engine, log }) {
      yield* submitCommand(engine.queue, { name: 'a' });
      const taken = yield* takeCommandsBack(engine.queue, ({ name }) => name === 'a');
      log.push(`${taken.length} back`);
    },
  });
  const outcomes = seen.map((log) => [log.includes('1 back'), log.includes('a ends')]);
  expect(outcomes).toEqual([
    [true, false],
    [false, true],
  ]);
});

test('who waits for a fence sees the job done, and the last reference frees it', () => {
  const { seen, findings } = explore({
    *driver({ engine, log }) {
      const fence = yield* dmaFenceAlloc(GFP_KERNEL);
      if (fence === null) return;
      yield* dmaFenceGet(fence);
      yield* submitCommand(engine.queue, { name: 'a', fence });
      yield* dmaFenceWait(fence);
      log.push('waited');
      yield* dmaFencePut(fence);
    },
  });
  expect(seen).toEqual(['a begins, a ends, waited']);
  expect(findings).toEqual([]);
});

test('a device stands still until its fault is answered', () => {
  const { seen, findings } = explore({
    *device({ engine, log }) {
      const fault = yield* reportFault(engine.faults, { address: 4096, isWrite: true, space: 1 });
      const answer = yield* awaitAnswer(engine.faults, fault);
      log.push(`answer ${answer}`);
    },
    *driver({ engine, log }) {
      for (;;) {
        const fault = yield* nextFault(engine.faults);
        if (fault === null) {
          log.push('nothing to do');
          break;
        }
        yield* answerFault(engine.faults, fault, -EFAULT);
      }
    },
    *late({ engine }) {
      const fault = yield* nextFault(engine.faults);
      if (fault !== null) yield* answerFault(engine.faults, fault, 0);
    },
  });
  expect(seen).toEqual([
    'answer -14, nothing to do',
    'answer 0, nothing to do',
    'nothing to do, answer -14',
    'nothing to do, answer 0',
  ]);
  // Nobody looks any more: it waits for ever.
  expect(findings).toHaveLength(1);
  expect(findings[0]).toContain('device');
});

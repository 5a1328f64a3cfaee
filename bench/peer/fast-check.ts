/**
 * fast-check: the acceptance programs as async functions, as one writes them for its scheduler. It draws
 * schedules at random; how many of the classes it meets is luck.
 */
import { now } from '../clock.ts';
import { assert, asyncProperty, scheduler, type Scheduler } from 'fast-check';

/** Waits until the scheduler lets the task take its next step. */
type Step = () => Promise<void>;

/** Starts the tasks; the end is judged by what it returns. */
type Model = (step: Step, count: number) => { tasks: Promise<void>[]; check?: () => boolean };

class Lock {
  private isHeld = false;
  private readonly waiting: (() => void)[] = [];

  async acquire(step: Step): Promise<void> {
    await step();
    while (this.isHeld) {
      await new Promise<void>((resolve) => {
        this.waiting.push(resolve);
      });
    }
    this.isHeld = true;
  }

  async release(step: Step): Promise<void> {
    await step();
    this.isHeld = false;
    this.waiting.shift()?.();
  }
}

function times(count: number, task: (index: number) => Promise<void>): Promise<void>[] {
  return Array.from({ length: count }, async (_, index) => task(index));
}

const lockinc: Model = (step, count) => {
  const lock = new Lock();
  let x = 0;
  const tasks = times(count, async () => {
    await lock.acquire(step);
    const r = x;
    x = r + 1;
    await lock.release(step);
  });
  return { tasks, check: () => x === count };
};

const readers: Model = (step, count) => {
  let x = 0;
  const seen: number[] = [];
  const write = async (): Promise<void> => {
    await step();
    x = 1;
  };
  const read = async (index: number): Promise<void> => {
    await step();
    seen[index] = x;
  };
  return { tasks: [write(), ...times(count, read)] };
};

const lastzero: Model = (step, count) => {
  const a = Array.from({ length: count + 1 }, () => 0);
  const read = async (): Promise<void> => {
    for (let i = count; ; i -= 1) {
      await step();
      if (a[i] === 0) return;
    }
  };
  const write = async (index: number): Promise<void> => {
    await step();
    const r = a[index] as number;
    await step();
    a[index + 1] = r + 1;
  };
  return { tasks: [read(), ...times(count, write)] };
};

const refcount: Model = (step, count) => {
  let references = 1;
  let freed = 0;
  let isGood = true;
  const drop = async (): Promise<void> => {
    await step();
    references -= 1;
    if (references > 0) return;
    await step();
    freed = 1;
  };
  const use = async (): Promise<void> => {
    await step();
    if (references === 0) return;
    references += 1;
    await step();
    isGood &&= freed === 0;
    await drop();
  };
  return { tasks: [drop(), ...times(count, use)], check: () => isGood && freed === 1 };
};

const indexer: Model = (step, count) => {
  const slots = Array.from({ length: 128 }, () => 0);
  const insert = async (index: number): Promise<void> => {
    for (let m = 1; m <= 4; m += 1) {
      const value = 11 * m + index;
      for (let at = (7 * value) % 128; ; at = (at + 1) % 128) {
        await step();
        if (slots[at] !== 0) continue;
        slots[at] = value;
        break;
      }
    }
  };
  return { tasks: times(count, insert) };
};

const MODELS: Readonly<Record<string, Model>> = { lockinc, lastzero, readers, refcount, indexer };

/** Runs so many schedules, drawn at random, of `lockinc-9`; milliseconds, or null if it has no model. */
export async function runFastCheck(program: string, schedules: number): Promise<number | null> {
  const [, family = '', number = ''] = /^(.*)-(\d+)$/.exec(program) ?? [];
  const model = MODELS[family];
  if (model === undefined) return null;
  const once = async (drawn: Scheduler): Promise<boolean> => {
    const { tasks, check } = model(async () => drawn.schedule(Promise.resolve()), Number(number));
    await drawn.waitFor(Promise.all(tasks));
    return check?.() ?? true;
  };
  const start = now();
  await assert(asyncProperty(scheduler(), once), { numRuns: schedules, seed: 1 });
  return now() - start;
}

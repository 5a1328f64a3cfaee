/**
 * Leaks: memory from the slab that is alive when all is over and that nothing refers to. Found as
 * kmemleak finds it, by following pointers from what is known to be in use: the state of the
 * scenario, the state of the kernel's parts, and what daemons work on. A pointer into the middle
 * counts for the whole. Of memory that only leaked memory refers to, only the first is reported.
 *
 * Simplified: an address that is kept as a number refers to nothing; what a daemon has in local
 * variables is not seen, except the arguments of the functions it is in. Nothing is judged when a
 * task has not come to its end.
 */
import { Call } from '../../kernel/call.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { KernelObject, Memory } from '../../kernel/memory.ts';
import { Operation } from '../../kernel/operation.ts';
import { Task } from '../../kernel/task.ts';
import type { Watch } from '../../kernel/watch.ts';

/** Finds memory that is lost. */
export function leak(): Watch {
  return { onEnd };
}

function onEnd(kernel: Kernel): void {
  if (kernel.slabMemory.size === 0 || !kernel.isQuiet) return;
  const kept = new Reach(kernel.slabMemory.size);
  kept.follow(kernel.roots);
  kept.follow(kernel.slots);
  for (const task of kernel.tasks) if (!task.isDone) followTask(kept, task);
  const lost = [...kernel.slabMemory].filter((memory) => !kept.memories.has(memory));
  for (const memory of firstOf(lost)) {
    const place = memory.allocated?.place ?? '';
    kernel.report({
      kind: 'leak',
      object: memory.name,
      message: `${memory.name}, allocated by ${place}, is never freed and nothing refers to it`,
      memory,
      place,
      isGlobal: true,
    });
  }
}

function followTask(reach: Reach, task: Task): void {
  reach.follow(task.argument);
  reach.follow(task.mm);
  reach.follow(task.process);
  for (const frame of task.frames) if (frame.call !== null) reach.follow(frame.call.args);
}

/** Those of the lost memories that none of the others leads to; of a ring, the oldest. */
function firstOf(lost: readonly Memory[]): Memory[] {
  const reaches = lost.map((memory) => {
    const reach = new Reach(Infinity);
    reach.follow(memory.object);
    return reach.memories;
  });
  return lost.filter((memory, at) =>
    reaches.every((reach, other) => {
      if (other === at || !reach.has(memory)) return true;
      const isMutual = (reaches[at] as Set<Memory>).has(lost[other] as Memory);
      return isMutual && at < other;
    }),
  );
}

/** The slab memory that can be reached from some values. */
class Reach {
  readonly memories = new Set<Memory>();
  private readonly seen = new Set<object>();
  private readonly sufficient: number;

  /** @param sufficient how many memories there are to be found, after which the walk can stop. */
  constructor(sufficient: number) {
    this.sufficient = sufficient;
  }

  follow(root: unknown): void {
    const open: object[] = [];
    this.meet(root, open);
    for (let value = open.pop(); value !== undefined; value = open.pop()) {
      if (this.memories.size >= this.sufficient) return;
      this.meetAllOf(value, open);
    }
  }

  private meet(value: unknown, open: object[]): void {
    if (typeof value !== 'object' || value === null || this.seen.has(value)) return;
    this.seen.add(value);
    if (value instanceof KernelObject) {
      const { memory } = value;
      if (!memory.isLive) return;
      if (memory.kind === 'slab') this.memories.add(memory);
    } else if (isOpaque(value)) {
      return;
    }
    open.push(value);
  }

  private meetAllOf(value: object, open: object[]): void {
    if (value instanceof Map) {
      for (const [key, item] of value) {
        this.meet(key, open);
        this.meet(item, open);
      }
      return;
    }
    if (value instanceof Set || Array.isArray(value)) {
      for (const item of value) this.meet(item, open);
      return;
    }
    for (const key of Object.keys(value)) {
      this.meet((value as Record<string, unknown>)[key], open);
    }
  }
}

/** Parts of the engine know every memory there is, which keeps none of it in use. */
function isOpaque(value: object): boolean {
  return (
    value instanceof Memory ||
    value instanceof Task ||
    value instanceof Operation ||
    value instanceof Call ||
    value instanceof Kernel ||
    ArrayBuffer.isView(value)
  );
}

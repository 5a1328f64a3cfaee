/**
 * The slab: kmalloc, kzalloc, kfree.
 *
 * Modelled: that an allocation may sleep, may fail, and may get the address of something that was
 * freed (each a choice with a budget); that a free ends the life of everything inside; where both
 * happened. A free conflicts with every access of the memory, so both orders are explored.
 * Simplified: memory is always zeroed. Fresh addresses come from an arena of the allocating task (as
 * they do from per-CPU slabs), so that they do not depend on the order of unrelated allocations.
 */
import { gfpName, GFP_DIRECT_RECLAIM, GFP_NOFAIL, type Gfp } from './gfp.ts';
import { perKernel, type Kernel } from './kernel.ts';
import { mayReclaim } from './lock-map.ts';
import type { KernelObject, Memory } from './memory.ts';
import { access, made, Operation, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import { instantiate, type Fields, type Instance, type StructType } from './struct.ts';
import type { Task } from './task.ts';

/** Freed addresses by size class, and what handing them out again conflicts on. */
class FreeLists {
  readonly variable: number;
  readonly #bySize = new Map<number, number[]>();

  constructor(kernel: Kernel) {
    this.variable = kernel.reserveVariables(1);
  }

  of(size: number): number[] {
    let list = this.#bySize.get(size);
    if (list === undefined) {
      list = [];
      this.#bySize.set(size, list);
    }
    return list;
  }
}

const freeLists = perKernel((kernel) => new FreeLists(kernel), 1);

/** Bytes that the slab takes for an object: the next power of two, at least 16. */
export function slabSize(bytes: number): number {
  let size = 16;
  while (size < bytes) size *= 2;
  return size;
}

function allocateAddress(task: Task, size: number): number {
  if (running.directCursor > 0) {
    running.directCursor += size;
    return running.directCursor - size;
  }
  const address = task.arenaStart + task.arenaUsed;
  task.arenaUsed += size;
  return address;
}

class Kmalloc extends Operation<unknown> {
  readonly type: StructType<Fields>;
  readonly gfp: Gfp;
  readonly label: string;
  override readonly maySleep: boolean;
  private readonly size: number;

  constructor(type: StructType<Fields>, gfp: Gfp, label: string) {
    super(null);
    this.type = type;
    this.gfp = gfp;
    this.label = label;
    this.maySleep = (gfp & GFP_DIRECT_RECLAIM) !== 0;
    this.size = slabSize(type.size);
  }

  override footprint(out: Access[]): void {
    if (running.budget.reuses > 0) out.push(access(freeLists(running).variable, WRITE));
  }

  /** Outcome 0: fresh memory; then one for each freed address; the last one: no memory. */
  override arity(): number {
    return 1 + this.reusable().length + (this.mayFail() ? 1 : 0);
  }

  perform(task: Task, outcome: number): unknown {
    mayReclaim(task, this.gfp);
    const reusable = this.reusable();
    if (outcome > reusable.length) {
      running.left.allocations -= 1;
      return null;
    }
    let address: number;
    if (outcome === 0) {
      address = allocateAddress(task, this.size);
    } else {
      running.left.reuses -= 1;
      address = reusable.splice(outcome - 1, 1)[0] as number;
    }
    const memory = running.makeMemory(this.type.name, 'slab', this.type.variables, address);
    running.noteAllocated(memory);
    return instantiate(this.type, memory);
  }

  describe(): string {
    return `${this.label}(sizeof(struct ${this.type.name}), ${gfpName(this.gfp)})`;
  }

  private reusable(): number[] {
    return running.left.reuses > 0 ? freeLists(running).of(this.size) : [];
  }

  private mayFail(): boolean {
    return running.left.allocations > 0 && (this.gfp & GFP_NOFAIL) === 0;
  }
}

class Kfree extends Operation<void> {
  /** Not the operation's `memory`: freeing twice is a finding of its own. */
  readonly target: Memory | null;
  readonly path: string;

  constructor(target: Memory | null, path: string) {
    super(null);
    this.target = target;
    this.path = path;
  }

  override footprint(out: Access[]): void {
    if (this.target === null) return;
    const end = this.target.firstVariable + this.target.variableCount;
    for (let variable = this.target.firstVariable; variable < end; variable += 1) {
      out.push(access(variable, WRITE));
    }
    if (running.budget.reuses > 0) out.push(access(freeLists(running).variable, WRITE));
  }

  perform(): void {
    const { target } = this;
    if (target === null) return;
    if (!target.isLive) running.doubleFree(target);
    running.release(target);
    if (running.budget.reuses > 0)
      freeLists(running).of(slabSize(target.size)).push(target.address);
  }

  describe(): string {
    return `kfree(${this.path})`;
  }
}

type Label = 'kzalloc' | 'kmalloc';

/** By type and flags; made once. */
const known: Readonly<Record<Label, WeakMap<object, Map<Gfp, Kmalloc>>>> = {
  kzalloc: new WeakMap(),
  kmalloc: new WeakMap(),
};

function kmallocOperation(type: StructType<Fields>, gfp: Gfp, label: Label): Kmalloc {
  let operations = known[label].get(type);
  if (operations === undefined) {
    operations = new Map();
    known[label].set(type, operations);
  }
  let operation = operations.get(gfp);
  if (operation === undefined) {
    operation = new Kmalloc(type, gfp, label);
    operations.set(gfp, operation);
  }
  return operation;
}

/** `kzalloc(sizeof(struct …), gfp)`: a new object, or NULL. Sleeps unless `gfp` says otherwise. */
export function kzalloc<F extends Fields>(
  type: StructType<F>,
  gfp: Gfp,
): Operation<Instance<F> | null> {
  const operation = kmallocOperation(type as unknown as StructType<Fields>, gfp, 'kzalloc');
  return made(operation) as unknown as Operation<Instance<F> | null>;
}

/** `kmalloc(sizeof(struct …), gfp)`; the model zeroes it all the same. */
export function kmalloc<F extends Fields>(
  type: StructType<F>,
  gfp: Gfp,
): Operation<Instance<F> | null> {
  const operation = kmallocOperation(type as unknown as StructType<Fields>, gfp, 'kmalloc');
  return made(operation) as unknown as Operation<Instance<F> | null>;
}

/** `kfree(object)`; NULL is allowed. `object` is what kmalloc returned, not something inside. */
export function kfree(object: KernelObject | null): Operation<void> {
  if (object !== null && (object.container !== null || object.memory.kind !== 'slab')) {
    running.misuse(`kfree(&${object.path}): not the start of memory that kmalloc returned`);
  }
  return made(new Kfree(object?.memory ?? null, object?.path ?? 'NULL'));
}

/** A static variable: `const globals = staticObject(Globals)`, then `globals(running)`. One for each execution. */
export function staticObject<F extends Fields>(
  type: StructType<F>,
): (kernel: Kernel) => Instance<F> {
  return perKernel((kernel) => allocateStatic(kernel, type), type.variables);
}

/** An object that is simply there, as a static variable is. For set-up. */
export function allocateStatic<F extends Fields>(kernel: Kernel, type: StructType<F>): Instance<F> {
  return instantiate(type, kernel.makeMemory(type.name, 'static', type.variables, null));
}

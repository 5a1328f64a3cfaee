/**
 * Memory: one outermost allocation, and the objects inside it.
 *
 * Modelled: that a `kmalloc`ed object, the data of a module and a static object have an address, a
 * life, and a place in the code where that life began and ended. Everything embedded in an
 * allocation lives and dies with it.
 * Not modelled: bytes and layout; a field is a place of its own, whatever its type.
 */
import type { Task } from './task.ts';

export type MemoryKind = 'slab' | 'static' | 'module';

/** Where a life began or ended: enough to name it without capturing a JavaScript stack. */
export interface Origin {
  readonly task: Task;
  readonly step: number;
  /** `function: operation`, as in a finding's places. */
  readonly place: string;
}

export class Memory {
  /** The struct's name, or the module's. */
  readonly name: string;
  readonly kind: MemoryKind;
  /** First byte; unique among live memory. */
  readonly address: number;
  /** Bytes. */
  readonly size: number;
  /** The variables of everything inside are `firstVariable` … `firstVariable + variableCount - 1`. */
  readonly firstVariable: number;
  readonly variableCount: number;
  isLive = true;
  /** Its place among the live memory of the slab, or -1; see slab-memory.ts. */
  slabIndex = -1;
  /** What the memory holds: the outermost object, once it is built. */
  object: KernelObject | null = null;
  allocated: Origin | null = null;
  freed: Origin | null = null;

  constructor(
    name: string,
    kind: MemoryKind,
    place: { readonly address: number; readonly size: number },
    variables: { readonly first: number; readonly count: number },
  ) {
    this.name = name;
    this.kind = kind;
    this.address = place.address;
    this.size = place.size;
    this.firstVariable = variables.first;
    this.variableCount = variables.count;
  }
}

/**
 * Something with a place in memory: a struct, a lock, a counter, a list head. `path` is its name
 * from the outermost allocation on, as the kernel would write it (`kfd_process.mutex`).
 */
export abstract class KernelObject {
  // Declared only: a class field is defined before the constructor assigns it, which is slow where many
  // classes share it.
  declare readonly memory: Memory;
  declare readonly path: string;
  /** The first of its variables. */
  declare readonly variable: number;
  /** The struct it is embedded in, or null for the outermost. */
  declare readonly container: KernelObject | null;

  constructor(at: Placement) {
    this.memory = at.memory;
    this.path = at.path;
    this.variable = at.variable;
    this.container = at.container;
    if (at.container === null) at.memory.object ??= this;
  }

  /** Its address: a variable takes 8 bytes. */
  get address(): number {
    return this.memory.address + (this.variable - this.memory.firstVariable) * 8;
  }
}

/** Where an object is to be built. */
export interface Placement {
  readonly memory: Memory;
  readonly path: string;
  readonly variable: number;
  readonly container: KernelObject | null;
}

/** Says how to build a field of a struct or a module: returned by `spinlock()`, `embed(T)` and so on. */
export class FieldSpec<T> {
  /** Variables that the field takes. */
  readonly variables: number;
  readonly make: (at: Placement) => T;

  constructor(variables: number, make: (at: Placement) => T) {
    this.variables = variables;
    this.make = make;
  }
}

/** A field that holds a plain value: a number, a pointer, a flag. */
export class PlainSpec<T> {
  readonly initial: T;

  constructor(initial: T) {
    this.initial = initial;
  }
}

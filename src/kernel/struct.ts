/**
 * Structs: `struct('gru_mm_struct', { msNotifier: embed(MmuNotifier), msAsidLock: spinlock(), … })`.
 *
 * Accessors are made once, on the prototype, and typed from the initial values. Every plain access
 * goes through the kernel, which knows whether the memory is alive and who may touch it at the same
 * time. Reaching an embedded object (`p.mutex`) computes an address and touches nothing; using it does.
 */
import { kernelName } from './call.ts';
import { READ, WRITE } from './operation.ts';
import { FieldSpec, KernelObject, PlainSpec, type Memory, type Placement } from './memory.ts';
import { running } from './running.ts';

/** The initial values and embedded objects of a struct, by field. */
export type Fields = Readonly<Record<string, unknown>>;

type Widen<T> = T extends number
  ? number
  : T extends boolean
    ? boolean
    : T extends string
      ? string
      : T;

export type FieldValue<F> =
  F extends FieldSpec<infer T> ? T : F extends PlainSpec<infer T> ? T : Widen<F>;

/** An instance of a struct: its fields, and what every kernel object has. */
export type Instance<F extends Fields> = StructObject & {
  -readonly [K in keyof F]: FieldValue<F[K]>;
};

export abstract class StructObject extends KernelObject {
  abstract readonly structType: StructType<Fields>;
}

/** A struct, as {@link struct} declares it; what is allocated of it is an {@link InstanceOf} it. */
export interface StructType<F extends Fields> {
  readonly name: string;
  /** Number of variables, those of embedded structs included. */
  readonly variables: number;
  /** Bytes, as the model counts them: 8 for each variable. */
  readonly size: number;
  /** The position of each field's first variable. */
  readonly offsets: Readonly<Record<string, number>>;
  readonly make: (at: Placement) => Instance<F>;
}

/** The instance type of a struct: `type KfdProcess = InstanceOf<typeof KfdProcess>`. */
export type InstanceOf<T> = T extends StructType<infer F> ? Instance<F> : never;

/** A plain field that holds a pointer, NULL at first. */
export function ptr<T>(): PlainSpec<T | null> {
  return new PlainSpec<T | null>(null);
}

/** A plain field of a given type. */
export function field<T>(initial: T): PlainSpec<T> {
  return new PlainSpec<T>(initial);
}

/** A struct inside another: it lives and dies with the outermost allocation. */
export function embed<F extends Fields>(type: StructType<F>): FieldSpec<Instance<F>> {
  return new FieldSpec(type.variables, type.make);
}

/** The key under which an instance keeps the value of a plain field. */
export function slotOf(name: string): string {
  let slot = slotNames.get(name);
  if (slot === undefined) {
    slot = `_${name}`;
    slotNames.set(name, slot);
  }
  return slot;
}

/** A name that is put together anew is looked up slowly. */
const slotNames = new Map<string, string>();

interface Layout {
  readonly plain: readonly { readonly slot: string; readonly initial: unknown }[];
  readonly objects: readonly {
    readonly key: string;
    readonly name: string;
    /** Its path in an instance that is in nothing else. */
    readonly path: string;
    readonly offset: number;
    readonly spec: FieldSpec<unknown>;
  }[];
  readonly offsets: Record<string, number>;
  readonly variables: number;
}

function layOut(structName: string, fields: Fields): Layout {
  const plain: { slot: string; initial: unknown }[] = [];
  const objects: Layout['objects'][number][] = [];
  const prefix = structName === '' ? '' : `${structName}.`;
  const offsets: Record<string, number> = {};
  let variables = 0;
  for (const [key, value] of Object.entries(fields)) {
    offsets[key] = variables;
    if (value instanceof FieldSpec) {
      const own = kernelName(key);
      const path = `${prefix}${own}`;
      objects.push({ key, name: own, path, offset: variables, spec: value });
      variables += value.variables;
    } else {
      plain.push({
        slot: slotOf(key),
        initial: value instanceof PlainSpec ? value.initial : value,
      });
      variables += 1;
    }
  }
  return { plain, objects, offsets, variables: Math.max(variables, 1) };
}

function definePlainAccessor(prototype: object, key: string, offset: number): void {
  const slot = slotOf(key);
  Object.defineProperty(prototype, key, {
    enumerable: true,
    get(this: StructObject & Record<string, unknown>): unknown {
      running.plainAccess(this, key, this.variable + offset, READ);
      return this[slot];
    },
    set(this: StructObject & Record<string, unknown>, value: unknown): void {
      running.plainAccess(this, key, this.variable + offset, WRITE);
      this[slot] = value;
    },
  });
}

/**
 * Defines a struct. Field values are embedded objects (`spinlock()`, `embed(T)`), pointers
 * (`ptr<T>()`), or plain initial values.
 */
export function struct<const F extends Fields>(name: string, fields: F): StructType<F> {
  const layout = layOut(name, fields);
  const separator = name === '' ? '' : '.';

  class StructInstance extends StructObject {
    override readonly structType = type as unknown as StructType<Fields>;

    constructor(at: Placement) {
      super(at);
      const self = this as unknown as Record<string, unknown>;
      for (const item of layout.plain) self[item.slot] = item.initial;
      // Most are, and each of their paths is one string.
      const isOutermost = at.path === name;
      for (const item of layout.objects) {
        self[item.key] = item.spec.make({
          memory: at.memory,
          path: isOutermost ? item.path : `${at.path}${separator}${item.name}`,
          variable: at.variable + item.offset,
          container: this,
        });
      }
    }
  }

  for (const [key, value] of Object.entries(fields)) {
    if (!(value instanceof FieldSpec)) {
      definePlainAccessor(StructInstance.prototype, key, layout.offsets[key] as number);
    }
  }

  const type: StructType<F> = {
    name,
    variables: layout.variables,
    size: layout.variables * 8,
    offsets: layout.offsets,
    make: (at) => new StructInstance(at) as unknown as Instance<F>,
  };
  return type;
}

/**
 * `container_of(member, type, field)`: the struct that `member` is embedded in. Computes an address
 * and touches nothing, so it is legal on freed memory too.
 */
export function containerOf<F extends Fields>(
  member: KernelObject,
  type: StructType<F>,
  key: keyof F & string,
): Instance<F> {
  const container = member.container;
  const isMember =
    container instanceof StructObject &&
    container.structType === (type as unknown as StructType<Fields>) &&
    (container as unknown as Record<string, unknown>)[key] === member;
  if (!isMember) {
    running.misuse(
      `containerOf: ${member.path} is not the field '${key}' of a struct ${type.name}`,
    );
  }
  return container as Instance<F>;
}

/** Builds an instance in memory that was obtained for it. */
export function instantiate<F extends Fields>(type: StructType<F>, memory: Memory): Instance<F> {
  return type.make({ memory, path: type.name, variable: memory.firstVariable, container: null });
}

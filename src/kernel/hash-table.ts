/**
 * DECLARE_HASHTABLE: an array of hash lists, in plain forms and for RCU readers.
 *
 * Modelled: one list for each bucket; walking a bucket meets all entries whose keys fall into it, so
 * whoever walks compares keys himself. Keys are numbers below 2^48: addresses and the like. The bucket
 * of a key depends on the key and the number of buckets alone.
 * Simplified: other keys share a bucket than would in Linux, which multiplies 64 bits.
 *
 * The plain forms need the table's lock; the RCU forms are operations, see hlist.ts.
 */
import { assert } from '../base/assert.ts';
import {
  hlistAddHead,
  hlistAddHeadRcu,
  hlistDelInit,
  hlistDelInitRcu,
  hlistEmpty,
  hlistFirstRcu,
  hlistForEachEntry,
  hlistForEachEntrySafe,
  HlistHead,
  hlistUnhashed,
  type HlistNode,
} from './hlist.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import type { Operation } from './operation.ts';
import type { Fields, Instance, StructType } from './struct.ts';

/** More buckets than this have no use in a model. */
const BITS_MAX = 10;
const LOW_FACTOR = 0x9e37_79b1;
const HIGH_FACTOR = 0x85eb_ca6b;

/** An array of hlist heads. A field of a struct declares one: {@link hashTable}. */
export class HashTable extends KernelObject {
  readonly bits: number;
  /** Made on first use: most stay empty, and tables are made for each execution. */
  private readonly buckets: (HlistHead | undefined)[] = [];

  constructor(at: Placement, bits: number) {
    super(at);
    this.bits = bits;
  }

  get bucketCount(): number {
    return 2 ** this.bits;
  }

  bucket(index: number): HlistHead {
    return (this.buckets[index] ??= new HlistHead({
      memory: this.memory,
      path: `${this.path}[${index}]`,
      variable: this.variable + index,
      container: this,
    }));
  }

  /** The list that `key` falls into. */
  bucketOf(key: number): HlistHead {
    return this.bucket(hashMin(key, this.bits));
  }
}

/** A field declared by `DECLARE_HASHTABLE(name, bits)`: 2^bits empty lists. */
export function hashTable(bits: number): FieldSpec<HashTable> {
  assert(Number.isInteger(bits) && bits >= 0 && bits <= BITS_MAX, `${bits} is no size of a table`);
  return new FieldSpec(2 ** bits, (at: Placement) => new HashTable(at, bits));
}

/** `hash_min(key, bits)`: from 0 to 2^bits - 1. */
export function hashMin(key: number, bits: number): number {
  if (bits === 0) return 0;
  const high = Math.floor(key / 2 ** 32);
  const product = Math.imul(key >>> 0, LOW_FACTOR) + Math.imul(high, HIGH_FACTOR);
  return (product >>> 0) >>> (32 - bits);
}

/** `hash_add(table, node, key)`, under the table's lock; not for tables that RCU readers walk. */
export function hashAdd(table: HashTable, node: HlistNode, key: number): void {
  hlistAddHead(node, table.bucketOf(key));
}

/** `hash_del(node)`, under the table's lock. No effect on a node that is in no table. */
export function hashDel(node: HlistNode): void {
  hlistDelInit(node);
}

/** `hash_add_rcu(table, node, key)`, under the table's lock: publishes what `node` is part of. */
export function hashAddRcu(table: HashTable, node: HlistNode, key: number): Operation<void> {
  return hlistAddHeadRcu(node, table.bucketOf(key));
}

/** `hash_del_rcu(node)`, under the table's lock. No effect on a node that is in no table. */
export function hashDelRcu(node: HlistNode): Operation<void> {
  return hlistDelInitRcu(node);
}

/** `hash_hashed(node)`: whether it is in a table. */
export function hashHashed(node: HlistNode): boolean {
  return !hlistUnhashed(node);
}

/** `hash_empty(table)`, under the table's lock. */
export function hashEmpty(table: HashTable): boolean {
  for (let index = 0; index < table.bucketCount; index += 1) {
    if (!hlistEmpty(table.bucket(index))) return false;
  }
  return true;
}

/**
 * `hash_for_each_possible(table, entry, member, key)`: the entries of the key's bucket, others of that
 * bucket included. Under the table's lock.
 */
export function hashForEachPossible<F extends Fields>(
  table: HashTable,
  type: StructType<F>,
  member: keyof F & string,
  key: number,
): Iterable<Instance<F>> {
  return hlistForEachEntry(table.bucketOf(key), type, member);
}

/** `hash_for_each_possible_safe`: the body may take the entry out and free it. */
export function hashForEachPossibleSafe<F extends Fields>(
  table: HashTable,
  type: StructType<F>,
  member: keyof F & string,
  key: number,
): Iterable<Instance<F>> {
  return hlistForEachEntrySafe(table.bucketOf(key), type, member);
}

/**
 * The first step of `hash_for_each_possible_rcu`, in a read section: the first node of the key's
 * bucket, or NULL. `hlistNextRcu` leads on, containerOf to the entry.
 */
export function hashFirstPossibleRcu(table: HashTable, key: number): Operation<HlistNode | null> {
  return hlistFirstRcu(table.bucketOf(key));
}

/** `hash_for_each_safe(table, …)`: all entries; the body may take the entry out and free it. */
export function hashForEachSafe<F extends Fields>(
  table: HashTable,
  type: StructType<F>,
  member: keyof F & string,
): Iterable<Instance<F>> {
  return new TableWalk(table, (bucket) => hlistForEachEntrySafe(bucket, type, member));
}

/** `hash_for_each(table, …)`: all entries, under the table's lock. */
export function hashForEach<F extends Fields>(
  table: HashTable,
  type: StructType<F>,
  member: keyof F & string,
): Iterable<Instance<F>> {
  return new TableWalk(table, (bucket) => hlistForEachEntry(bucket, type, member));
}

class TableWalk<T> implements Iterable<T>, Iterator<T> {
  private readonly table: HashTable;
  private readonly walk: (bucket: HlistHead) => Iterable<T>;
  private bucketIndex = 0;
  private inner: Iterator<T> | null = null;

  constructor(table: HashTable, walk: (bucket: HlistHead) => Iterable<T>) {
    this.table = table;
    this.walk = walk;
  }

  [Symbol.iterator](): Iterator<T> {
    return this;
  }

  next(): IteratorResult<T> {
    const { table } = this;
    while (this.bucketIndex < table.bucketCount) {
      this.inner ??= this.walk(table.bucket(this.bucketIndex))[Symbol.iterator]();
      const result = this.inner.next();
      if (result.done !== true) return result;
      this.inner = null;
      this.bucketIndex += 1;
    }
    return { done: true, value: undefined };
  }
}

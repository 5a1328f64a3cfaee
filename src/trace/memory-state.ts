/**
 * What memory holds, as texts: looked at after each step, to tell what the step changed.
 *
 * Shown are plain fields, counters, the links of lists and whether a completion is done, of structs and
 * of what is embedded in them. Left out: what has no value of its own (locks, which are told by who holds
 * them; wait queues), and what is not a struct (arrays, trees).
 * Reads raw values: no watch sees it, and memory that was freed keeps its last values.
 */
import { Atomic } from '../kernel/atomic.ts';
import { kernelName } from '../kernel/call.ts';
import { Completion } from '../kernel/completion.ts';
import { HlistLink } from '../kernel/hlist-node.ts';
import { ListHead } from '../kernel/list-node.ts';
import type { KernelObject, Memory } from '../kernel/memory.ts';
import { Refcount } from '../kernel/refcount.ts';
import { slotOf, StructObject } from '../kernel/struct.ts';
import type { RecordedChange } from './recording.ts';
import { fieldText } from './value-text.ts';

export class MemoryState {
  private readonly memories = new Map<Memory, string>();
  private readonly namesTaken = new Map<string, number>();
  private readonly values = new Map<string, string>();

  /** From now on `memory`, which has just been made, is looked at. */
  watchNew(memory: Memory): void {
    if (!this.memories.has(memory)) this.add(memory);
  }

  /** As {@link watchNew}, of memory that was there before: what it holds is no change. */
  watchOld(memory: Memory): readonly RecordedChange[] {
    if (this.memories.has(memory)) return [];
    const name = this.add(memory);
    return this.changesOf(memory, name);
  }

  private add(memory: Memory): string {
    const count = (this.namesTaken.get(memory.name) ?? 0) + 1;
    this.namesTaken.set(memory.name, count);
    const name = count === 1 ? memory.name : `${memory.name}#${count}`;
    this.memories.set(memory, name);
    return name;
  }

  /** What has changed since the last call, in the order in which memory came to be. */
  changes(): RecordedChange[] {
    return [...this.memories].flatMap(([memory, name]) => this.changesOf(memory, name));
  }

  private changesOf({ object, isLive }: Memory, name: string): RecordedChange[] {
    const changes: RecordedChange[] = [];
    const note = (path: string, value: string): void => {
      if (this.values.get(path) === value) return;
      this.values.set(path, value);
      changes.push({ path, value });
    };
    if (!isLive) note(name, 'freed');
    else if (object instanceof StructObject) this.fields(object, name, note);
    return changes;
  }

  private fields(
    object: StructObject,
    path: string,
    note: (path: string, value: string) => void,
  ): void {
    const bare = object as unknown as Readonly<Record<string, unknown>>;
    for (const key of Object.keys(object.structType.offsets)) {
      const own = `${path}.${kernelName(key)}`;
      const slot = slotOf(key);
      if (Object.hasOwn(bare, slot)) {
        const text = fieldText(bare[slot]);
        if (text !== null) note(own, text);
        continue;
      }
      const part = bare[key];
      if (part instanceof StructObject) this.fields(part, own, note);
      else for (const [suffix, text] of partTexts(part)) note(own + suffix, text);
    }
  }
}

/** The values of an embedded object that is no struct, by what is added to its path. */
function partTexts(part: unknown): (readonly [string, string])[] {
  if (part instanceof Atomic || part instanceof Refcount) return [['', String(part.value)]];
  if (part instanceof HlistLink) return [[`.${part.linkName}`, linkText(part.target)]];
  if (part instanceof ListHead) return [['.next', linkText(part.next)]];
  if (part instanceof Completion) return [['.done', String(part.isDone)]];
  return [];
}

function linkText(target: KernelObject | symbol | null): string {
  if (target === null) return 'NULL';
  return typeof target === 'symbol' ? (target.description ?? 'LIST_POISON') : `&${target.path}`;
}

/** Where sections begin and end: of locks, and of readers. */
import type { EventSort } from './event-log.ts';

export interface SectionEdge {
  readonly isBegin: boolean;
  /** What is held, with the way it is held: `read mm_struct.mmap_sem`. */
  readonly object: string;
}

const EXCLUSIVE_BEGIN =
  /^(?:mutex_(?:try)?lock|spin_(?:try)?lock|write_(?:try)?lock|down_write)(?:_\w+)?$/;
const EXCLUSIVE_END = /^(?:mutex_unlock|spin_unlock|write_unlock|up_write)(?:_\w+)?$/;
const SHARED_BEGIN = /^(?:down_read|(?:s?rcu_)?read_lock)(?:_\w+)?$/;
const SHARED_END = /^(?:up_read|(?:s?rcu_)?read_unlock)(?:_\w+)?$/;

const known = new WeakMap<EventSort, SectionEdge | null>();

/** The edge of a section that an event of the sort is; null if it is none. */
export function sectionEdge(sort: EventSort | undefined): SectionEdge | null {
  if (sort === undefined || sort.kind !== 'operation') return null;
  let edge = known.get(sort);
  if (edge === undefined) {
    edge = edgeOf(sort);
    known.set(sort, edge);
  }
  return edge;
}

function edgeOf({ name, text }: EventSort): SectionEdge | null {
  const isShared = SHARED_BEGIN.test(name) || SHARED_END.test(name);
  const isBegin = SHARED_BEGIN.test(name) || EXCLUSIVE_BEGIN.test(name);
  if (!isBegin && !isShared && !EXCLUSIVE_END.test(name)) return null;
  const held = /\(&?([^(),]*)/.exec(text)?.[1] ?? '';
  return { isBegin, object: `${isShared ? 'read' : 'write'} ${held}` };
}

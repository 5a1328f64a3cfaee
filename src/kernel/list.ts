import { FieldSpec, KernelObject, type Placement } from './memory.ts';
export class ListHead extends KernelObject { next: ListHead = this; prev: ListHead = this; }
export function listHead() { return new FieldSpec(1, (at: Placement) => new ListHead(at)); }
export function listAddTail(n: ListHead, h: ListHead) { n.prev = h.prev; n.next = h; h.prev.next = n; h.prev = n; }
export function listDel(n: ListHead) { n.prev.next = n.next; n.next.prev = n.prev; }
export function* listForEach(h: ListHead): Generator<ListHead> { let n = h.next; while (n !== h) { const next = n.next; yield n; n = next; } }

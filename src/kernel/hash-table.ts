import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { HlistHead, type HlistNode, hlistAddHeadRcu, hlistDelRcu, hlistFirstRcu, hlistNextRcu } from './hlist.ts';
export class HashTable extends KernelObject { readonly b: HlistHead[] = []; }
export function hashtable(bits: number) { return new FieldSpec(1 << bits, (at: Placement) => { const t = new HashTable(at); for (let i = 0; i < 1 << bits; i++) t.b.push(new HlistHead({ ...at, variable: at.variable + i, container: t })); return t; }); }
const h = (t: HashTable, k: number) => t.b[Math.floor(k / 64) % t.b.length]!;
export const hashAddRcu = (t: HashTable, n: HlistNode, k: number) => hlistAddHeadRcu(n, h(t, k));
export const hashDelRcu = (n: HlistNode) => hlistDelRcu(n);
export const hashFirstRcu = (t: HashTable, k: number) => hlistFirstRcu(h(t, k));
export const hashNextRcu = (n: HlistNode) => hlistNextRcu(n);

/**
 * What deletion leaves in the links of a list node, so that whoever follows them is caught.
 */
import type { KernelObject } from './memory.ts';
import { running } from './running.ts';

/** In `next` of a node that was deleted for good. */
export const LIST_POISON1: unique symbol = Symbol('LIST_POISON1');
/** In `prev` or `pprev` of a node that was deleted for good. */
export const LIST_POISON2: unique symbol = Symbol('LIST_POISON2');

export type Poison = typeof LIST_POISON1 | typeof LIST_POISON2;

/** Following a poisoned link traps, as a wild pointer does. `use` says what was tried. */
export function trapPoison(poison: Poison, object: KernelObject, use: string): never {
  running.badPointer(poison.description ?? 'LIST_POISON', `${use} of ${object.path}`);
}

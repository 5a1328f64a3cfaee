/**
 * Arrays of kernel objects inside a struct: `inode: array(32, embed(Inode))`.
 *
 * Modelled: a fixed number of elements that live and die with the allocation they are in. An element
 * is a place of its own: tasks that use different elements do not disturb each other. Simplified: an
 * index out of range is an error of the model's author, not a finding. Left out: arrays of bare
 * values; give the element a struct, so that its fields can be read and written with marks.
 */
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { running } from './running.ts';

export class KernelArray<T> extends KernelObject {
  readonly length: number;
  /** Not `#elements`: the search for leaks follows what an object has. */
  private readonly elements: readonly T[];

  constructor(at: Placement, length: number, spec: FieldSpec<T>) {
    super(at);
    this.length = length;
    this.elements = Array.from({ length }, (_, index) =>
      spec.make({
        memory: at.memory,
        path: `${at.path}[${index}]`,
        variable: at.variable + index * spec.variables,
        container: at.container,
      }),
    );
  }

  /** The element at `index`, from 0. Computes an address and touches nothing. */
  get(index: number): T {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      running.misuse(`${this.path}[${index}]: the array has ${this.length} elements`);
    }
    return this.elements[index] as T;
  }
}

/** A field that is an array of `length` objects of one kind: `array(26, mutex())`. */
export function array<T>(length: number, spec: FieldSpec<T>): FieldSpec<KernelArray<T>> {
  return new FieldSpec(length * spec.variables, (at) => new KernelArray(at, length, spec));
}

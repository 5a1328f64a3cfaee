/**
 * Lock classes: what lockdep takes for one and the same lock.
 *
 * As in Linux, a class is the place where locks are declared, here a field of a struct; all locks of it
 * are one to lockdep, however many there are. The class has no state: it is an identity, and what a
 * search learns about it is kept by the detector.
 */
import { KernelObject } from './memory.ts';

export class LockClass {
  /** The name, or null: that of the field where the lock is. */
  readonly name: string | null;
  /** What goes before the name of the field: `(work_completion)`. */
  readonly prefix: string;
  /** True for locks proper, which may be taken in interrupts or with interrupts on. */
  readonly isLock: boolean;

  constructor(
    options: { readonly name?: string; readonly prefix?: string; readonly isLock?: boolean } = {},
  ) {
    this.name = options.name ?? null;
    this.prefix = options.prefix ?? '';
    this.isLock = options.isLock ?? true;
  }

  /** `kfd_process.mutex`: the struct that declares the lock and the field, however deep it is embedded. */
  nameOf(lock: object): string {
    if (this.name !== null) return this.name;
    return lock instanceof KernelObject ? `${this.prefix}${declaredName(lock)}` : this.prefix;
  }
}

function declaredName({ path, container }: KernelObject): string {
  const field = path.slice(path.lastIndexOf('.') + 1).replaceAll(/\[\d+\]/g, '[]');
  if (container === null) return field;
  const { structType } = container as { structType?: { readonly name: string } };
  return structType === undefined || structType.name === '' ? field : `${structType.name}.${field}`;
}

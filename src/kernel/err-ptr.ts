/**
 * ERR_PTR: an error number where a pointer is expected. Using one as a pointer is a finding.
 */
import { errnoName } from '../base/errno.ts';
import { kernelName } from './call.ts';
import { running } from './running.ts';

const ERRNO = Symbol('errno');

/** What {@link errPtr} makes. Tell it from a pointer by {@link isErr}. */
export class ErrPtr {
  readonly [ERRNO]: number;

  constructor(errno: number) {
    this[ERRNO] = errno;
  }
}

function trap(target: ErrPtr, key: string | symbol, verb: string): never {
  const name = typeof key === 'symbol' ? 'a field' : kernelName(key);
  running.badPointer(`ERR_PTR(${errnoName(target[ERRNO])})`, `${verb} of ${name}`);
}

const HANDLER: ProxyHandler<ErrPtr> = {
  get: (target, key) =>
    typeof key === 'symbol' ? Reflect.get(target, key) : trap(target, key, 'read'),
  set: (target, key) => trap(target, key, 'write'),
};

/** `ERR_PTR(error)`; `error` is negative: `errPtr(-ENOMEM)`. */
export function errPtr(error: number): ErrPtr {
  return new Proxy(new ErrPtr(error), HANDLER);
}

/** `IS_ERR(pointer)`. */
export function isErr(pointer: unknown): pointer is ErrPtr {
  return pointer instanceof ErrPtr;
}

/** `PTR_ERR(pointer)`: the negative error number. */
export function ptrErr(pointer: ErrPtr): number {
  return pointer[ERRNO];
}

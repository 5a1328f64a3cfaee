/**
 * Entering and leaving the kernel on behalf of a process, and the system calls of memory. Each is a thread
 * of the process from its first step to its last; after exit none is made, and the answer is -ESRCH.
 */
import { ESRCH } from '../base/errno.ts';
import { fn, type KernelCallable } from '../kernel/call.ts';
import { made, type Operation } from '../kernel/operation.ts';
import { current } from '../kernel/running.ts';
import type { MmStruct } from '../mm-types/mm-struct.ts';
import { vmBrk } from './brk.ts';
import { vmMadvise } from './madvise.ts';
import { vmMincore } from './mincore.ts';
import { vmMlock, vmMunlock } from './mlock.ts';
import { vmMprotect } from './mprotect.ts';
import { vmMremap } from './mremap.ts';
import { vmMsync } from './msync.ts';
import { vmMunmap } from './munmap.ts';
import type { Process } from './process.ts';
import { userLoad, userStore } from './user-access.ts';

/** `text` is for pictures: the call with its arguments. */
export function enter(process: Process, text: string | (() => string)): Operation<boolean> {
  return made(process.enterOperation, text);
}

/** Numbers above this are shown as addresses. */
const ADDRESS_MIN = 0x1_0000;

function showArgument(value: unknown): string {
  if (typeof value !== 'number') {
    return typeof value === 'object' && value !== null
      ? Object.values(value).map(showArgument).join(', ')
      : String(value);
  }
  return value >= ADDRESS_MIN ? `0x${value.toString(16)}` : String(value);
}

/** A system call that is nothing but a call on the mm. */
function memoryCall<A extends unknown[], R>(
  name: string,
  call: KernelCallable<[MmStruct, ...A], R>,
): KernelCallable<[Process, ...A], R | number> {
  return fn(
    function* memorySystemCall(process: Process, ...args: A) {
      const text = (): string => `${name}(${args.map(showArgument).join(', ')})`;
      if (!(yield* enter(process, text))) return -ESRCH;
      const result = yield* call(process.mm!, ...args);
      process.leave(current());
      return result;
    },
    { name },
  );
}

export const sysMunmap = memoryCall('munmap', vmMunmap);
export const sysMprotect = memoryCall('mprotect', vmMprotect);
export const sysMremap = memoryCall('mremap', vmMremap);
export const sysMadvise = memoryCall('madvise', vmMadvise);
export const sysMsync = memoryCall('msync', vmMsync);
export const sysMlock = memoryCall('mlock', vmMlock);
export const sysMunlock = memoryCall('munlock', vmMunlock);
export const sysMincore = memoryCall('mincore', vmMincore);
export const sysBrk = memoryCall('brk', vmBrk);
/** No system calls, but they keep the process from being gone in the middle just the same. */
export const userLoadCall = memoryCall('load', userLoad);
export const userStoreCall = memoryCall('store', userStore);

/** All detectors of kernel objects, as a set that shares what they know of order. */
import { HappensBefore } from '../happens-before.ts';
import { bug } from './bug.ts';
import { dataRace } from './data-race.ts';
import { deadlock } from './deadlock.ts';
import type { Detector } from './detector.ts';
import { doubleFree } from './double-free.ts';
import { errPtrDereference } from './err-ptr-dereference.ts';
import { leak } from './leak.ts';
import { lockMisuse } from './lock-misuse.ts';
import { lockOrder } from './lock-order.ts';
import { nullDereference } from './null-dereference.ts';
import { refcount } from './refcount.ts';
import { sleepingInAtomic } from './sleeping-in-atomic.ts';
import { unloadedCode } from './unloaded-code.ts';
import { useAfterFree } from './use-after-free.ts';
import { warn } from './warn.ts';

/** A fresh set of all detectors. Give the whole list, in its order, to a kernel as its watches. */
export function allDetectors(): Detector[] {
  const order = new HappensBefore();
  return [
    order,
    useAfterFree(),
    doubleFree(),
    leak(),
    nullDereference(),
    errPtrDereference(),
    dataRace(order),
    deadlock(),
    lockOrder(),
    sleepingInAtomic(),
    refcount(),
    bug(),
    warn(),
    lockMisuse(),
    unloadedCode(),
  ];
}

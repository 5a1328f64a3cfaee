/** What scenarios of vhost share: a program with a ring in its memory, and the device that works on it. */
import {
  VHOST_DEVICE,
  VHOST_KICK,
  VHOST_NET_SET_BACKEND,
  VHOST_SET_OWNER,
  VHOST_SET_VRING_ADDR,
  vhostFixed,
  vhostInterval,
  vhostV53Rc,
  type VringAddr,
} from '../../drivers/vhost/index.ts';
import { fn } from '../../kernel/call.ts';
import type { ModuleType } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import type { Machine } from '../../mm/machine.ts';
import type { Process } from '../../mm/process.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../mm-types/mm-struct.ts';

export const RING = 0x40_0000;
/** The used ring has a page of its own, which is the only one that the worker writes to. */
export const USED = RING + PAGE_SIZE;
export const ADDRESSES: VringAddr = { desc: RING, avail: RING + 0x100, used: USED };

/** What the request that waits is to send. */
export const SENT = 9;

/** Offsets in avail and used. */
export const IDX = 2;
export const ENTRIES = 4;

export const CLEAN = { verdict: 'clean' } as const;

/** The versions, as variants call them. */
const MODULES: Readonly<Record<string, ModuleType>> = {
  'v5.3-rc': vhostV53Rc,
  fixed: vhostFixed,
  interval: vhostInterval,
};

/** The module that a variant is about. */
export function moduleOf(variant: string): ModuleType {
  return MODULES[variant] as ModuleType;
}

export interface VhostState {
  readonly process: Process;
  /** Pinned until {@link unpin}. */
  readonly mm: MmStruct;
  readonly module: ModuleType;
  readonly fd: number;
}

interface SetUp {
  readonly module: ModuleType;
  readonly pages?: number;
  readonly addresses?: VringAddr;
  /** How far the device is: open, with an owner, with a ring, with maps of it, with a request that waits for the worker. */
  readonly stage?: 'open' | 'owned' | 'ready' | 'mapped' | 'kicked';
}

/** Puts a request on the ring; `index` counts them from 0. */
export const postRequest = fn(function* postRequest(
  { process }: VhostState,
  { desc, avail }: VringAddr,
  index: number,
  byte: number,
) {
  yield* process.store(desc + (index % 2), byte);
  yield* process.store(avail + ENTRIES + (index % 2), index % 2);
  yield* process.store(avail + IDX, index + 1);
});

/** Tells the worker. 0 or -errno. */
export function kick({ process, fd }: VhostState) {
  return process.ioctl(fd, VHOST_KICK);
}

/** Says where the ring is. 0 or -errno. */
export function setAddresses({ process, fd }: VhostState, addresses: VringAddr) {
  return process.ioctl(fd, VHOST_SET_VRING_ADDR, addresses);
}

/** For set-up. The pages are there and may be written. */
export function prepare(
  machine: Machine,
  { module, pages = 2, addresses = ADDRESSES, stage = 'kicked' }: SetUp,
): VhostState {
  const process = machine.process();
  const mm = process.mm!;
  machine.runNow(mmgrab(mm));
  machine.runNow(process.mmap(RING, pages * PAGE_SIZE));
  for (let page = 0; page < pages; page += 1) {
    machine.runNow(process.store(RING + page * PAGE_SIZE + 8, 0));
  }
  machine.load(module);
  const fd = machine.runNow<number>(process.open(VHOST_DEVICE));
  const state = { process, mm, module, fd };
  if (stage === 'open') return state;
  machine.runNow(process.ioctl(fd, VHOST_SET_OWNER));
  if (stage === 'owned') return state;
  machine.runNow(setAddresses(state, addresses));
  if (stage === 'ready') return state;
  machine.runNow(process.ioctl(fd, VHOST_NET_SET_BACKEND));
  if (stage === 'kicked') {
    machine.runNow(postRequest(state, addresses, 0, SENT));
    machine.runNow(kick(state));
  }
  return state;
}

/** For `finally`. */
export function* unpin({ mm }: VhostState): Body<void> {
  yield* mmdrop(mm);
}

/**
 * The adapter that mlx5_ib drives: memory keys, accesses by a remote side, page faults.
 *
 *     remote side                    adapter                               mlx5_ib
 *     READ key, address              memory key: is it valid, is it allowed?
 *                                      key of pages: MTT -> frame
 *                                      key of keys:  KLM -> key of pages
 *                                    no entry: a fault is queued  ------>  mlx5_ib_eq_pf_process()
 *                                      stands still                          maps the page
 *     data, or an error              tries again          <--------------  PAGE_FAULT_RESUME
 *
 * The adapter has frame numbers and numbers of keys; it knows no mm and no structure of the driver.
 * Modelled: that an access is several steps (key, key below it, page), that keys are made and destroyed by commands,
 * that a fault is answered with "try again" or "give up", that the remote side gives up after so many tries.
 * Simplified: a byte at a time; an event is handled at once, on the adapter's own task instead of an interrupt of some
 * CPU; the number of a key is not used again, so that an access never finds another region under it; the key below
 * another is found by the address divided by {@link MLX5_IMR_MTT_SIZE}, which is 16 KiB instead of 1 GiB.
 * Left out: queue pairs and their states, completion queues, memory windows, the fields of commands.
 */
import { EACCES, EFAULT, EINVAL, ENOMEM, ETIMEDOUT } from '../../base/errno.ts';
import { deviceCompareSwap, deviceFetchAdd, deviceLoad, deviceStore } from '../../device/access.ts';
import { awaitAnswer, faultQueue, reportFault } from '../../device/fault-queue.ts';
import { deviceTranslations, type DeviceTranslations } from '../../device/translations.ts';
import { atomic, atomicIncReturn } from '../../kernel/atomic.ts';
import { fn, type Call, type KernelCallable } from '../../kernel/call.ts';
import { smpLoadAcquire, smpStoreRelease } from '../../kernel/field.ts';
import { perKernel, type Kernel } from '../../kernel/kernel.ts';
import type { Body } from '../../kernel/operation.ts';
import { running } from '../../kernel/running.ts';
import { allocateStatic } from '../../kernel/slab.ts';
import { field, struct, type InstanceOf } from '../../kernel/struct.ts';
import { xaLoad, xarray } from '../../kernel/xarray.ts';

export const IB_ACCESS_LOCAL_WRITE = 1;
export const IB_ACCESS_REMOTE_WRITE = 2;
export const IB_ACCESS_REMOTE_READ = 4;
export const IB_ACCESS_REMOTE_ATOMIC = 8;
export const IB_ACCESS_ON_DEMAND = 64;

/** Bytes of a key below another. */
export const MLX5_IMR_MTT_SHIFT = 14;
export const MLX5_IMR_MTT_SIZE = 2 ** MLX5_IMR_MTT_SHIFT;

/** Keys that an adapter has. */
const MKEY_COUNT = 6;
/** How often the remote side tries again to get past a fault: IBV_QP_RETRY_CNT, of which hardware allows up to 7. */
const RETRY_COUNT = 3;

const FREE = 0;
const PAGES = 1;
const KEYS = 2;
type MkeyKind = typeof FREE | typeof PAGES | typeof KEYS;

/** A memory key of the adapter. */
export const Mkey = struct('mkey', {
  kind: field<MkeyKind>(FREE),
  /** Its number, from 1. Constant. */
  key: 0,
  /** The address that its first byte has for the remote side; bytes; IB_ACCESS_*. Constant while it is valid. */
  start: 0,
  length: 0,
  access: 0,
  /** Whether what is not translated is a fault, and no error. */
  isOnDemand: field(false),
  /** By page from its start on. */
  mtt: deviceTranslations(),
  /** Numbers of keys, by address / MLX5_IMR_MTT_SIZE. Without an entry: the null key. */
  klm: xarray<number>(),
});
export type Mkey = InstanceOf<typeof Mkey>;

const NicRegisters = struct('nic', {
  /** Keys made so far. */
  made: atomic(0),
  /** Events of the page-fault event queue. */
  faults: faultQueue(),
});

/** What handles page-fault events. Must not sleep. */
export type EventHandler = KernelCallable<[Nic], void>;

/** An adapter that is plugged in. */
export class Nic {
  readonly registers: InstanceOf<typeof NicRegisters>;
  readonly mkeys: readonly Mkey[];
  /** The driver's, while one is bound. */
  handler: EventHandler | null = null;

  constructor(kernel: Kernel) {
    this.registers = allocateStatic(kernel, NicRegisters);
    this.mkeys = Array.from({ length: MKEY_COUNT }, () => allocateStatic(kernel, Mkey));
  }
}

const slot = perKernel((kernel) => new Nic(kernel));

/** Plugs an adapter in. For set-up, before the driver is loaded. */
export function plugNic(kernel: Kernel): Nic {
  return slot(kernel);
}

/** The adapter that a driver finds when it is loaded. */
export function theNic(): Nic {
  return slot(running);
}

// ---- commands, for the driver ---------------------------------------------------------------------

/** What a key is made with. */
export interface MkeyContext {
  readonly start: number;
  readonly length: number;
  readonly access: number;
  readonly isOnDemand: boolean;
  readonly hasKeys: boolean;
}

/** CREATE_MKEY: a key without any entry, or -ENOMEM if the adapter has no more. May sleep. */
export const createMkey = fn(function* createMkey(
  nic: Nic,
  context: MkeyContext,
): Body<Mkey | number> {
  const key = yield* atomicIncReturn(nic.registers.made);
  const mkey = nic.mkeys[key - 1];
  if (mkey === undefined) return -ENOMEM;
  mkey.key = key;
  mkey.start = context.start;
  mkey.length = context.length;
  mkey.access = context.access;
  mkey.isOnDemand = context.isOnDemand;
  yield* smpStoreRelease(mkey, 'kind', context.hasKeys ? KEYS : PAGES);
  return mkey;
});

/** DESTROY_MKEY: accesses that come later find no key. May sleep. */
export const destroyMkey = fn(function* destroyMkey(mkey: Mkey) {
  yield* smpStoreRelease(mkey, 'kind', FREE);
});

/** The status that a command on the entries of a key completes with (UMR): 0, or -EINVAL for a key that is gone. */
export const umrStatus = fn(
  function* umrStatus(mkey: Mkey) {
    return (yield* smpLoadAcquire(mkey, 'kind')) === FREE ? -EINVAL : 0;
  },
  { name: 'mlx5r_umr_post_send_wait' },
);

// ---- accesses, for the remote side -----------------------------------------------------------------

/** Where the remote side wants to get. */
export interface RemoteAddress {
  readonly key: number;
  readonly address: number;
}

type Attempt = (translations: DeviceTranslations, offset: number) => Call<number>;

interface Wish {
  readonly access: number;
  readonly isWrite: boolean;
  /** The transport is one that the adapter does not page for (`per_transport_caps`). */
  readonly isUnpaged?: boolean;
  readonly attempt: Attempt;
}

interface Found {
  readonly translations: DeviceTranslations;
  readonly offset: number;
}

/** The pages that an address is in. -EACCES: no such key, or not allowed; -EFAULT: nothing is there yet. */
const lookUpKey = fn(function* lookUpKey(
  nic: Nic,
  { key, address }: RemoteAddress,
  access: number,
): Body<Found | number> {
  const mkey = nic.mkeys[key - 1];
  if (mkey === undefined) return -EACCES;
  const kind = yield* smpLoadAcquire(mkey, 'kind');
  const isInside = address >= mkey.start && address < mkey.start + mkey.length;
  if (kind === FREE || !isInside || (mkey.access & access) !== access) return -EACCES;
  if (kind === PAGES) return { translations: mkey.mtt, offset: address - mkey.start };
  const number = yield* xaLoad(mkey.klm, Math.floor(address / MLX5_IMR_MTT_SIZE));
  if (number === null) return -EFAULT;
  const below = nic.mkeys[number - 1] as Mkey;
  if ((yield* smpLoadAcquire(below, 'kind')) === FREE) return -EFAULT;
  return { translations: below.mtt, offset: address - below.start };
});

/** Asks the driver for a page: 0 to try again, or -errno. */
const pageFault = fn(function* pageFault(nic: Nic, at: RemoteAddress, isWrite: boolean) {
  const { handler } = nic;
  const mkey = nic.mkeys[at.key - 1] as Mkey;
  if (handler === null || !mkey.isOnDemand) return -EACCES;
  const { faults } = nic.registers;
  const fault = yield* reportFault(faults, { address: at.address, isWrite, space: at.key });
  yield* handler(nic);
  return yield* awaitAnswer(faults, fault);
});

const access = fn(function* access(nic: Nic, at: RemoteAddress, wish: Wish) {
  for (let tries = 0; tries <= RETRY_COUNT; tries += 1) {
    const found = yield* lookUpKey(nic, at, wish.access);
    let result: number;
    if (typeof found === 'number') result = found;
    else result = yield* wish.attempt(found.translations, found.offset);
    if (result !== -EFAULT) return result;
    if (wish.isUnpaged === true) return -EACCES;
    const error = yield* pageFault(nic, at, wish.isWrite);
    if (error !== 0) return -EACCES;
  }
  return -ETIMEDOUT;
});

/**
 * RDMA READ of a byte: 0 … 255; -EACCES for a key or page that the remote side may not reach (IBV_WC_REM_ACCESS_ERR);
 * -ETIMEDOUT when it gave up (IBV_WC_RETRY_EXC_ERR). For a task that plays the remote side.
 */
export const rdmaRead = fn(function* rdmaRead(nic: Nic, at: RemoteAddress) {
  const wish = { access: IB_ACCESS_REMOTE_READ, isWrite: false, attempt: deviceLoad };
  return yield* access(nic, at, wish);
});

/** RDMA READ by a transport that this adapter does not page for: without an entry it is refused, and there is no fault. */
export const rdmaReadUnpaged = fn(
  function* rdmaReadUnpaged(nic: Nic, at: RemoteAddress) {
    const wish = { access: IB_ACCESS_REMOTE_READ, isWrite: false, attempt: deviceLoad };
    return yield* access(nic, at, { ...wish, isUnpaged: true });
  },
  { name: 'rdma_read' },
);

/** RDMA WRITE of a byte: 0, or as {@link rdmaRead}. */
export const rdmaWrite = fn(function* rdmaWrite(nic: Nic, at: RemoteAddress, byte: number) {
  const attempt: Attempt = (translations, offset) => deviceStore(translations, offset, byte);
  const result = yield* access(nic, at, { access: IB_ACCESS_REMOTE_WRITE, isWrite: true, attempt });
  return Math.min(result, 0);
});

/** FETCH AND ADD: the byte as it was, or as {@link rdmaRead}. */
export const rdmaFetchAdd = fn(function* rdmaFetchAdd(nic: Nic, at: RemoteAddress, addend: number) {
  const attempt: Attempt = (translations, offset) => deviceFetchAdd(translations, offset, addend);
  return yield* access(nic, at, { access: IB_ACCESS_REMOTE_ATOMIC, isWrite: true, attempt });
});

/** COMPARE AND SWAP: the byte as it was, or as {@link rdmaRead}. */
export const rdmaCompareSwap = fn(function* rdmaCompareSwap(
  nic: Nic,
  at: RemoteAddress,
  exchange: { readonly expected: number; readonly desired: number },
) {
  const attempt: Attempt = (translations, offset) =>
    deviceCompareSwap(translations, offset, exchange);
  return yield* access(nic, at, { access: IB_ACCESS_REMOTE_ATOMIC, isWrite: true, attempt });
});

/** SEND and RECV: a byte of one region goes into another; 0, or as {@link rdmaRead}. Both are local to the adapter. */
export const sendReceive = fn(function* sendReceive(
  nic: Nic,
  from: RemoteAddress,
  to: RemoteAddress,
) {
  const byte = yield* access(nic, from, { access: 0, isWrite: false, attempt: deviceLoad });
  if (byte < 0) return byte;
  const store: Attempt = (translations, offset) => deviceStore(translations, offset, byte);
  const wish = { access: IB_ACCESS_LOCAL_WRITE, isWrite: true, attempt: store };
  return Math.min(yield* access(nic, to, wish), 0);
});

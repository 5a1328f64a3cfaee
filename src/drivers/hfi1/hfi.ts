/**
 * The hardware: an Omni-Path adapter, as far as it reads and writes memory of programs.
 *
 *     receive    RcvArray: TID -> frame              a packet that names a TID is written to that frame
 *     send       SDMA: descriptors, in order         a byte is read from a bus address and sent; then an interrupt
 *
 * It has frame numbers and bus addresses, which are frame numbers here: there is no IOMMU. Pages stay because the driver
 * has them pinned. Simplified: a packet is a byte; the interrupt is a call of the driver's function by the engine.
 */
import { deviceLoad, deviceStore } from '../../device/access.ts';
import { commandQueue, startEngine, submitCommand } from '../../device/command-queue.ts';
import { deviceTranslations } from '../../device/translations.ts';
import { atomic, atomicInc, atomicRead } from '../../kernel/atomic.ts';
import { fn, type KernelCallable } from '../../kernel/call.ts';
import { perKernel } from '../../kernel/kernel.ts';
import { RETRY, retry } from '../../kernel/retry.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { field, struct, type InstanceOf } from '../../kernel/struct.ts';

const PAGE_SIZE = 4096;

/** Entries of the RcvArray. */
export const TID_COUNT = 2;

/** What SDMA is to do. */
interface Descriptor {
  /** Bus address, in bytes. */
  readonly address: number;
  /** Called when it is done. */
  readonly done: KernelCallable<[], void>;
}

const Hfi = struct('hfi', {
  rcvArray: deviceTranslations(),
  /** What SDMA may reach, by bus address. */
  bus: deviceTranslations(),
  sdma: commandQueue<Descriptor>(),
  /** Descriptors that are done. */
  done: atomic(0),
  isOn: field(false),
});

const adapter = staticObject(Hfi);
const sent = perKernel(() => [] as number[]);

/** The adapter of the machine. */
export function hfi(): InstanceOf<typeof Hfi> {
  return adapter(running);
}

/** The bytes that have been sent, in order; for who listens outside. */
export function hfiSent(): readonly number[] {
  return sent(running);
}

/** A packet for `tid` arrives: its byte is at the start of the page; 0 or -EFAULT if nobody expects it. */
export const hfiReceive = fn(
  function* hfiReceive(tid: number, byte: number) {
    return yield* deviceStore(hfi().rcvArray, tid * PAGE_SIZE, byte);
  },
  { name: 'hfi_receive' },
);

/** Waits until `count` descriptors are done, since power-on: as a program does that polls its completions. */
export const hfiWaitDone = fn(
  function* hfiWaitDone(count: number) {
    yield* retry('until it is sent', function* () {
      return (yield* atomicRead(hfi().done)) < count ? RETRY : 0;
    });
  },
  { name: 'poll_completions' },
);

const execute = fn(
  function* execute({ address, done }: Descriptor) {
    const byte = yield* deviceLoad(hfi().bus, address);
    if (byte >= 0) sent(running).push(byte);
    yield* done();
    yield* atomicInc(hfi().done);
  },
  { name: 'hfi_sdma' },
);

/** Powers it on, if it is not. Never sleeps. */
export const hfiPowerOn = fn(
  function* hfiPowerOn() {
    const device = hfi();
    if (device.isOn) return;
    device.isOn = true;
    yield* startEngine(device.sdma as never, execute as never, 'sdma');
  },
  { name: 'hfi_power_on' },
);

/** Hands a descriptor to SDMA. Never sleeps. */
export function sdmaSubmit(descriptor: Descriptor) {
  return submitCommand(hfi().sdma, descriptor);
}

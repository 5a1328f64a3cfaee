/**
 * The hardware: a GPU with queue slots that programs write packets to without asking the kernel.
 *
 *     program             slot (an HQD)                         amdkfd
 *     ringDoorbell() ---> ring: packets in order
 *                         executes while a queue is loaded <--- loadQueue(), haltSlot(), resumeSlot(), unloadQueue()
 *                         through the IOMMU: the PASID says
 *                         whose page tables
 *
 * Modelled: a slot executes one packet after the other; a queue that is taken off the hardware has finished the
 * packet it was at, and what was not begun is lost with it. A packet whose address does not translate is dropped.
 * Simplified: a packet reads or writes a byte; doorbells are slots. Left out: waves, priorities, the scheduler in
 * firmware (HWS), GPUVM of discrete cards.
 */
import {
  commandQueue,
  haltQueue,
  resumeQueue,
  startEngine,
  submitCommand,
  takeCommandsBack,
} from '../../device/command-queue.ts';
import { iommuLoad, iommuStore } from '../../device/iommu-access.ts';
import { array } from '../../kernel/array.ts';
import { atomic, atomicInc } from '../../kernel/atomic.ts';
import { fn } from '../../kernel/call.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import type { PageTables } from '../../mm-types/page-table.ts';

/** Queues that the hardware can have loaded at a time. */
export const GPU_SLOT_COUNT = 2;

/** A packet of a queue. */
export type Packet =
  | { readonly op: 'write'; readonly address: number; readonly byte: number }
  | { readonly op: 'copy'; readonly from: number; readonly to: number };

interface Submitted {
  readonly packet: Packet;
  readonly slot: GpuSlot;
}

export const GpuSlot = struct('gpu_slot', {
  ring: commandQueue<Submitted>(),
  /** Where the PASID of the queue that is loaded leads: page tables, not an mm. NULL without a queue. */
  root: ptr<PageTables>(),
  /** True once its engine runs. */
  isOn: field(false),
  /** Packets whose address did not translate. */
  faults: atomic(0),
});
export type GpuSlot = InstanceOf<typeof GpuSlot>;

const Gpu = struct('gpu', { slots: array(GPU_SLOT_COUNT, embed(GpuSlot)) });

/** The GPU of the machine. */
const gpu = staticObject(Gpu);

/** Slot number `slot` of the machine's GPU. */
export function gpuSlot(slot: number): GpuSlot {
  return gpu(running).slots.get(slot);
}

const execute = fn(function* executePacket({ packet, slot }: Submitted) {
  const { root } = slot;
  if (root === null) return;
  let byte = packet.op === 'write' ? packet.byte : yield* iommuLoad(root, packet.from);
  if (byte >= 0)
    byte = yield* iommuStore(root, packet.op === 'write' ? packet.address : packet.to, byte);
  if (byte < 0) yield* atomicInc(slot.faults);
});

/** A program writes a packet to a ring and rings its doorbell. No system call: the hardware alone. Never sleeps. */
export const ringDoorbell = fn(function* ringDoorbell(slotNumber: number, packet: Packet) {
  const slot = gpuSlot(slotNumber);
  yield* submitCommand(slot.ring, { packet, slot });
});

/** Loads a queue into a slot that has none. The caller is the only one who loads and unloads it. Never sleeps. */
export const loadQueue = fn(function* loadQueue(slotNumber: number, root: PageTables) {
  const slot = gpuSlot(slotNumber);
  yield* haltQueue(slot.ring);
  slot.root = root;
  yield* resumeQueue(slot.ring);
  if (slot.isOn) return;
  slot.isOn = true;
  yield* startEngine(slot.ring as never, execute as never, `gpu slot ${slotNumber}`);
});

/** Stops a slot, when the packet it is at is done. Never sleeps. Pairs with {@link resumeSlot}. */
export const haltSlot = fn(function* haltSlot(slotNumber: number) {
  yield* haltQueue(gpuSlot(slotNumber).ring);
});

export const resumeSlot = fn(function* resumeSlot(slotNumber: number) {
  yield* resumeQueue(gpuSlot(slotNumber).ring);
});

/** Takes the queue off a slot that is halted, with all that has not begun, and lets the slot go on. Never sleeps. */
export const unloadQueue = fn(function* unloadQueue(slotNumber: number) {
  const slot = gpuSlot(slotNumber);
  yield* takeCommandsBack(slot.ring, anything);
  slot.root = null;
  yield* resumeQueue(slot.ring);
});

function anything(): boolean {
  return true;
}

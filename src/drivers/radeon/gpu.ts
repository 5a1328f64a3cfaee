/**
 * The hardware: a Radeon board with a ring of jobs and a table of pages (the GART).
 *
 *     radeon                            board
 *     setDeviceEntry(), flush           GART: page of the board -> frame, rights
 *     emitJob(commands, fence)  --->    ring: jobs in order
 *                                         each command reads or writes through the GART
 *     dmaFenceWait(fence)       <---    fence is signalled
 *
 * The board has frame numbers and addresses of its own, and no mm. Modelled: jobs one after the other, a translation
 * that is kept in the TLB until it is flushed, a fence for each job. Simplified: a command is of one byte, or copies
 * one; addresses in commands are final when the job is emitted; the fence is signalled by the board, where the kernel
 * has an interrupt; an access that does not translate is dropped and counted, where the board reads a dummy page.
 * Left out: several rings, semaphores between them, VRAM, resets. The model has two boards.
 */
import { deviceCompareSwap, deviceFetchAdd, deviceLoad, deviceStore } from '../../device/access.ts';
import { commandQueue, startEngine, submitCommand } from '../../device/command-queue.ts';
import { dmaFencePut, dmaFenceSignal, type DmaFence } from '../../device/fence.ts';
import { deviceTranslations } from '../../device/translations.ts';
import { array } from '../../kernel/array.ts';
import { atomic, atomicInc } from '../../kernel/atomic.ts';
import { fn } from '../../kernel/call.ts';
import { running } from '../../kernel/running.ts';
import { staticObject } from '../../kernel/slab.ts';
import { embed, field, struct, type InstanceOf } from '../../kernel/struct.ts';

/** Boards that a machine can have. */
export const BOARD_COUNT = 2;
/** Pages that the GART can translate. */
export const GART_PAGE_COUNT = 8;

/** What a job does, with addresses of the board in bytes. */
export type BoardCommand =
  | { readonly op: 'write'; readonly to: number; readonly byte: number }
  | { readonly op: 'add'; readonly to: number; readonly addend: number }
  | {
      readonly op: 'compare-swap';
      readonly to: number;
      readonly expected: number;
      readonly desired: number;
    }
  | { readonly op: 'copy'; readonly from: number; readonly to: number };

/** Commands, and what to signal when they are done: the job has a reference to the fence. */
interface Job {
  readonly commands: readonly BoardCommand[];
  readonly fence: DmaFence;
  readonly board: RadeonBoard;
}

export const RadeonBoard = struct('radeon_board', {
  ring: commandQueue<Job>(),
  gart: deviceTranslations({ hasTlb: true }),
  /** Accesses that did not translate. */
  faults: atomic(0),
  /** True once it is powered on. */
  isOn: field(false),
});
export type RadeonBoard = InstanceOf<typeof RadeonBoard>;

const Boards = struct('boards', { all: array(BOARD_COUNT, embed(RadeonBoard)) });

const boards = staticObject(Boards);

/** Board number `index` of the machine. */
export function radeonBoard(index: number): RadeonBoard {
  return boards(running).all.get(index);
}

const execute = fn(
  function* execute({ gart }: RadeonBoard, command: BoardCommand) {
    if (command.op === 'write') return yield* deviceStore(gart, command.to, command.byte);
    if (command.op === 'add') return yield* deviceFetchAdd(gart, command.to, command.addend);
    if (command.op === 'compare-swap') return yield* deviceCompareSwap(gart, command.to, command);
    const byte = yield* deviceLoad(gart, command.from);
    return byte < 0 ? byte : yield* deviceStore(gart, command.to, byte);
  },
  { name: 'gpu_execute' },
);

const executeJob = fn(
  function* executeJob({ commands, fence, board }: Job) {
    for (const command of commands) {
      if ((yield* execute(board, command)) < 0) yield* atomicInc(board.faults);
    }
    yield* dmaFenceSignal(fence);
    yield* dmaFencePut(fence);
  },
  { name: 'gpu_job' },
);

/** Powers a board on, if it is not. Never sleeps. */
export const powerOn = fn(
  function* powerOn(index: number) {
    const board = radeonBoard(index);
    if (board.isOn) return;
    board.isOn = true;
    yield* startEngine(board.ring as never, executeJob as never, `gpu ${index}`);
  },
  { name: 'gpu_power_on' },
);

/** Writes a job to the ring; it takes over a reference to the fence. Never sleeps. */
export const emitJob = fn(
  function* emitJob(index: number, commands: readonly BoardCommand[], fence: DmaFence) {
    const board = radeonBoard(index);
    yield* submitCommand(board.ring, { commands, fence, board });
  },
  { name: 'radeon_ring_commit' },
);

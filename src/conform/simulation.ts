/**
 * The process in which a recording is played: a machine in direct mode, a notifier on its address space,
 * the recording's files, and one function for each kind of recorded call.
 */
import { errnoName } from '../base/errno.ts';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  MAP_SHARED,
  MS_SYNC,
  SIGBUS,
  SIGSEGV,
} from '../base/mman.ts';
import { fn, type Call } from '../kernel/call.ts';
import { runDirect } from '../kernel/direct.ts';
import type { Yieldable } from '../kernel/operation.ts';
import { allocateStatic } from '../kernel/slab.ts';
import type { AddressSpace } from '../mm-types/address-space.ts';
import { vmas } from '../mm-types/mm-take-all-locks.ts';
import { bootMachine, type Machine } from '../mm/machine.ts';
import type { Process } from '../mm/process.ts';
import { MmuNotifier, type MmuNotifierRange } from '../mmu-notifier/mmu-notifier.ts';
import { mmuNotifierRegister } from '../mmu-notifier/register.ts';
import { presentUnits, seenVmas } from './look.ts';
import {
  PAGE_BYTES,
  WINDOW_START,
  WINDOW_UNITS,
  type Observation,
  type RecordedFile,
  type RecordedOp,
  type RecordingHeader,
} from './recording.ts';

type SpanOp = OpOf<'mmapnr' | 'mprotect' | 'madvise' | 'munmap' | 'mlock' | 'munlock' | 'msync'>;
type OpOf<N extends RecordedOp['name']> = Extract<RecordedOp, { name: N }>;

/** What a call returned, as recordings have it. */
interface Outcome {
  readonly ret: number;
  readonly err: string | null;
}

const DONE: Outcome = { ret: 0, err: null };
const KILLED: Outcome = { ret: -1, err: 'SIGNAL' };
/** What a recording notes for a child that read nothing. */
const READ_NOTHING = 255;
const BYTE_OF_CHILD = 77;

export class Simulation {
  readonly machine: Machine;
  readonly process: Process;
  private readonly unitBytes: number;
  /** File descriptors, by number of the file. */
  private readonly fds: number[] = [];
  private writeCount = 0;
  private readonly fileNames = new Map<AddressSpace, string>();
  /** What the notifier was told since the last call began: starts and ends by turns, in bytes. */
  private readonly told: number[] = [];

  constructor(header: RecordingHeader) {
    this.unitBytes = header.unitPages * PAGE_BYTES;
    this.machine = bootMachine();
    this.process = this.machine.process();
    for (const file of header.files) this.createFile(file);
    this.register();
  }

  /** Its pages are holes, but for the first of each unit. */
  private createFile({ name, units, firstByte }: RecordedFile): void {
    const { process } = this;
    const fd = this.run(process.memfdCreate(name));
    this.fds.push(fd);
    this.run(process.ftruncate(fd, units * this.unitBytes));
    for (let unit = 0; unit < units; unit += 1) {
      const byte = Uint8Array.of(firstByte + unit);
      this.run(process.pwrite(fd, byte, unit * this.unitBytes));
    }
    // A mapping shows which address_space is behind the descriptor.
    this.run(process.mmap(WINDOW_START, PAGE_BYTES, { flags: MAP_SHARED | MAP_FIXED, fd }));
    for (const { mapping } of vmas(process.mm!)) {
      if (mapping !== null) this.fileNames.set(mapping, name);
    }
    this.run(process.munmap(WINDOW_START, PAGE_BYTES));
  }

  /** Performs a call and says what is to be seen afterwards. */
  play(op: RecordedOp): Observation {
    this.told.length = 0;
    const { ret, err } = this.perform(op);
    const mm = this.process.mm!;
    return {
      ret,
      err,
      inv: this.rangesTold(),
      vmas: seenVmas(mm, this.unitBytes, this.fileNames),
      present: presentUnits(mm, this.unitBytes),
    };
  }

  private register(): void {
    const { told } = this;
    const mn = allocateStatic(this.machine, MmuNotifier);
    const invalidateRangeStart = fn(function* recordRange(
      _mn: MmuNotifier,
      { start, end }: MmuNotifierRange,
    ) {
      told.push(start, end);
      return 0;
    });
    mn.ops = { invalidateRangeStart };
    this.run(mmuNotifierRegister(mn, this.process.mm!));
  }

  private run<R>(call: Yieldable<R>): R {
    return runDirect(this.machine, call);
  }

  private address(unit: number): number {
    return WINDOW_START + unit * this.unitBytes;
  }

  private units(address: number): number {
    return Math.trunc((address - WINDOW_START) / this.unitBytes);
  }

  private rangesTold(): [number, number][] {
    const ranges: [number, number][] = [];
    const windowEnd = this.address(WINDOW_UNITS);
    for (let at = 0; at < this.told.length; at += 2) {
      const start = this.told[at] as number;
      const end = this.told[at + 1] as number;
      if (start < windowEnd && end > WINDOW_START)
        ranges.push([this.units(start), this.units(end)]);
    }
    return ranges;
  }

  // ---- the calls ----------------------------------------------------------------------------

  private perform(op: RecordedOp): Outcome {
    const { process } = this;
    switch (op.name) {
      case 'mmap':
        return this.mmap(op);
      case 'mremap':
        return this.mremap(op);
      case 'read':
        return access(this.run(process.load(this.address(op.at) + op.offset)));
      case 'write':
        return this.write(op);
      case 'fork':
        return this.fork(op);
      case 'truncate':
        return outcome(this.run(process.ftruncate(this.fd(op.file), op.units * this.unitBytes)));
      case 'punch':
        return this.punch(op);
      default:
        return outcome(this.run(this.spanCall(op, ...this.span(op))));
    }
  }

  /** A call that is about a range of addresses, and returns 0 or an error. */
  private spanCall(op: SpanOp, start: number, length: number): Call<number> {
    const { process } = this;
    switch (op.name) {
      case 'mmapnr': {
        const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
        return process.mmap(start, length, { prot: op.prot, flags });
      }
      case 'mprotect':
        return process.mprotect(start, length, op.prot);
      case 'madvise':
        return process.madvise(start, length, op.advice);
      case 'munmap':
        return process.munmap(start, length);
      case 'mlock':
        return process.mlock(start, length);
      case 'munlock':
        return process.munlock(start, length);
      default:
        return process.msync(start, length, MS_SYNC);
    }
  }

  private span({ at, units }: { at: number; units: number }): [start: number, length: number] {
    return [this.address(at), units * this.unitBytes];
  }

  private fd(file: number): number {
    return this.fds[file] as number;
  }

  private mmap(op: OpOf<'mmap'>): Outcome {
    const { backing, prot } = op;
    const sharing = backing.isShared ? MAP_SHARED : MAP_PRIVATE;
    const options =
      backing.kind === 'anon'
        ? { prot, flags: sharing | MAP_FIXED | MAP_ANONYMOUS }
        : {
            prot,
            flags: sharing | MAP_FIXED,
            fd: this.fd(backing.file),
            offset: backing.unit * this.unitBytes,
          };
    return outcome(this.run(this.process.mmap(...this.span(op), options)));
  }

  private mremap({ at, units, newUnits, flags, to }: OpOf<'mremap'>): Outcome {
    const lengths = [units * this.unitBytes, newUnits * this.unitBytes] as const;
    const options = flags === 0 ? {} : { flags, newAddress: this.address(to) };
    const result = this.run(this.process.mremap(this.address(at), ...lengths, options));
    return result < 0 ? failure(result) : { ret: this.units(result), err: null };
  }

  private write({ at, offset }: OpOf<'read' | 'write'>): Outcome {
    this.writeCount += 1;
    const byte = (this.writeCount % 99) + 1;
    const result = this.run(this.process.store(this.address(at) + offset, byte));
    return result < 0 ? access(result) : { ret: byte, err: null };
  }

  private fork({ at, doesWrite }: OpOf<'fork'>): Outcome {
    const child = this.run(this.process.fork());
    if (typeof child === 'number') return failure(child);
    let ret = READ_NOTHING;
    let isKilled = false;
    if (at >= 0) {
      const address = this.address(at);
      ret = this.run(child.load(address));
      isKilled = ret < 0;
      if (!isKilled && doesWrite) isKilled = this.run(child.store(address, BYTE_OF_CHILD)) < 0;
    }
    this.run(child.exit());
    return isKilled ? KILLED : { ret, err: null };
  }

  private punch({ file, at, units }: OpOf<'punch'>): Outcome {
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    const offset = at * this.unitBytes;
    const length = units * this.unitBytes;
    return outcome(this.run(this.process.fallocate(this.fd(file), mode, offset, length)));
  }
}

/** Of a call whose success is not told apart. */
function outcome(result: number): Outcome {
  return result < 0 ? failure(result) : DONE;
}

function failure(result: number): Outcome {
  return { ret: -1, err: errnoName(result).replace(/^-/, '') };
}

/** Of a load: the byte, or a negated signal. */
function access(result: number): Outcome {
  if (result >= 0) return { ret: result, err: null };
  if (result === -SIGBUS) return { ret: -1, err: 'SIGBUS' };
  return result === -SIGSEGV ? { ret: -1, err: 'SIGSEGV' } : failure(result);
}

/**
 * struct file: one open of a device, and who keeps it alive.
 *
 * Each descriptor that stands for it, everyone who called `getFile`, and each system call that is
 * using it hold a reference. The last to let go runs release and gives the module back.
 *
 *     CPU0                              CPU1
 *     ioctl(fd)
 *       fdget(fd)
 *                                       close(fd)
 *                                         flush, drops the descriptor's reference
 *       fops->unlocked_ioctl()
 *       fdput()  -> release()
 *
 * Simplified: the last reference runs release at once, not on the way back to user space.
 */
import { fn, type KernelCallable, type Text } from './call.ts';
import { FieldSpec, KernelObject, type Placement } from './memory.ts';
import { modulePut, textFootprint } from './module.ts';
import { access, COMMUTE, made, Operation, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import { kfree } from './slab.ts';
import { ptr, struct, type InstanceOf } from './struct.ts';

/** What a driver does with its files. Returns are 0 or -errno unless said otherwise. */
export interface FileOperations {
  /** The module that must stay while a file is open. Without it, it may go: that is a bug. */
  readonly owner?: Text;
  readonly open?: KernelCallable<[File], number>;
  /** Runs at each close of a descriptor. */
  readonly flush?: KernelCallable<[File], number>;
  /** Runs when nobody uses the file any more. The result means nothing. */
  readonly release?: KernelCallable<[File], unknown>;
  /** `unlocked_ioctl`; the argument is whatever the program passed. The result goes to it. */
  readonly ioctl?: KernelCallable<[File, number | string, never], number>;
  /** The second argument is the new mapping, not linked yet; or what {@link fileMmap} was given. */
  readonly mmap?: KernelCallable<[File, never], number>;
}

/** Appends what a step touches after which one of the driver's functions is called. */
export function callFootprint(fops: FileOperations | null, out: Access[]): void {
  if (fops === null) return;
  const { open, flush, release, ioctl, mmap } = fops;
  const callback = open ?? flush ?? release ?? ioctl ?? mmap;
  if (callback !== undefined) textFootprint(callback.callee, out);
}

/**
 * `f_count`. Lasting references (descriptors, get_file) are told apart from those of system calls in
 * progress: while there is a lasting one, system calls that end commute.
 */
export class FileCount extends KernelObject {
  lasting = 1;
  using = 0;
  /** As `fOp` of the file, for operations that call the driver. */
  fops: FileOperations | null = null;
  readonly putSteps: number[] = [];
  readonly getOperation = new GetFile(this);
  readonly putOperation = new Fput(this);
  readonly endOperation = new Fdput(this);
}

function fileCount(): FieldSpec<FileCount> {
  return new FieldSpec(2, (at: Placement) => new FileCount(at));
}

abstract class CountOperation<R> extends Operation<R> {
  readonly count: FileCount;
  readonly label: string;

  constructor(count: FileCount, label: string) {
    super(count.memory);
    this.count = count;
    this.label = label;
  }

  describe(): string {
    return `${this.label}(${this.count.memory.name})`;
  }

  /** Drops a reference; true if it was the last. */
  protected drop(kind: 'lasting' | 'using'): boolean {
    const { count } = this;
    count[kind] -= 1;
    const isLast = count.lasting + count.using === 0;
    if (isLast) for (const step of count.putSteps) running.after(step);
    if (running.now >= 0) count.putSteps.push(running.now);
    return isLast;
  }
}

class GetFile extends CountOperation<void> {
  override readonly footprintVaries = true;
  constructor(count: FileCount) {
    super(count, 'get_file');
  }

  footprint(out: Access[]): void {
    const { variable, lasting } = this.count;
    out.push(access(variable, COMMUTE));
    if (lasting === 0) out.push(access(variable + 1, WRITE));
  }

  perform(): void {
    this.count.lasting += 1;
  }
}

class Fput extends CountOperation<boolean> {
  override readonly footprintVaries = true;
  constructor(count: FileCount) {
    super(count, 'fput');
  }

  footprint(out: Access[]): void {
    const { variable, lasting } = this.count;
    out.push(access(variable, WRITE));
    if (lasting <= 1) out.push(access(variable + 1, WRITE));
    callFootprint(this.count.fops, out);
  }

  perform(): boolean {
    if (this.count.lasting === 0) {
      running.counterMisuse(this.count, 'decremented below the references that are held');
      return false;
    }
    return this.drop('lasting');
  }
}

class Fdput extends CountOperation<boolean> {
  override readonly footprintVaries = true;
  constructor(count: FileCount) {
    super(count, 'fdput');
  }

  footprint(out: Access[]): void {
    const { variable, lasting } = this.count;
    out.push(access(variable + 1, lasting === 0 ? WRITE : COMMUTE));
    callFootprint(this.count.fops, out);
  }

  perform(): boolean {
    return this.drop('using');
  }
}

/** `struct file`: one open of a device. */
export const File = struct('file', {
  fCount: fileCount(),
  /** The driver's. */
  privateData: ptr<KernelObject>(),
  /** Set before the file can be found, then constant. */
  fOp: ptr<FileOperations>(),
});
export type File = InstanceOf<typeof File>;

/** `get_file(file)`: one more reference, for who holds one. Pairs with {@link fput}. */
export function getFile(file: File): Operation<void> {
  return made(file.fCount.getOperation);
}

/** Drops a reference; the last one runs release. May sleep. Pairs with {@link getFile}. */
export const fput = fn(function* fput(file: File) {
  if (yield* made(file.fCount.putOperation)) yield* fputLast(file);
});

/** The end of a system call that used the file. */
export const fdput = fn(function* fdput(file: File) {
  if (yield* made(file.fCount.endOperation)) yield* fputLast(file);
});

const fputLast = fn(
  function* fputLast(file: File) {
    const fops = file.fOp as FileOperations;
    if (fops.release !== undefined) yield* fops.release(file);
    if (fops.owner !== undefined) yield* modulePut(fops.owner);
    yield* kfree(file);
  },
  { name: '__fput' },
);

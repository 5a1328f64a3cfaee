/**
 * Descriptors: which numbers stand for which open files in a process.
 *
 * Modelled: a descriptor that was closed or never opened finds nothing; fork copies them, each copy is
 * one more reference.
 * Simplified: descriptors are never used twice, and each task counts its own, so that two tasks that
 * open files do not depend on each other.
 */
import { EBADF } from '../base/errno.ts';
import { callFootprint, type File } from './open-file.ts';
import { access, COMMUTE, Operation, READ, WRITE, type Access } from './operation.ts';
import { running } from './running.ts';
import type { Task } from './task.ts';

class Descriptor {
  readonly variable: number;
  file: File | null;
  readonly installedAt: number;

  constructor(file: File) {
    this.variable = running.reserveVariables(1);
    this.file = file;
    this.installedAt = running.now;
  }
}

/** `files_struct`: the descriptors of a process. */
export class FileTable {
  /** What copying the table conflicts on. */
  readonly variable: number;
  readonly descriptors = new Map<number, Descriptor>();
  private readonly counts = new Map<Task, number>();
  readonly installOperation = new FdInstall(this);
  readonly findOperation = new Fdget(this);
  readonly removeOperation = new RemoveDescriptor(this);
  readonly dupOperation = new Dup(this);
  readonly copyOperation = new CopyTable(this);
  readonly listOperation = new ListDescriptors(this);

  constructor() {
    this.variable = running.reserveVariables(1);
  }

  /** Gives `file` a descriptor, the next of the task's own numbers. */
  install(task: Task, file: File): number {
    const first = FD_FIRST + (task.index + 1) * FD_STRIDE;
    let count = this.counts.get(task) ?? 0;
    // Descriptors that came with fork may have been numbered by the same task.
    while (this.descriptors.has(first + count)) count += 1;
    this.counts.set(task, count + 1);
    const fd = first + count;
    this.descriptors.set(fd, new Descriptor(file));
    return fd;
  }

  /** The file of a descriptor, or null. */
  fileOf(fd: number): File | null {
    return this.descriptors.get(fd)?.file ?? null;
  }
}

const FD_FIRST = 3;
/** Descriptors of one task that do not clash with the next one's. */
const FD_STRIDE = 100;

abstract class TableOperation<R> extends Operation<R> {
  readonly table: FileTable;
  readonly label: string;

  constructor(table: FileTable, label: string) {
    super(null);
    this.table = table;
    this.label = label;
  }

  describe(task: Task): string {
    return `${this.label}(${String(task.argument)})`;
  }

  protected descriptorOf(task: Task): Descriptor | undefined {
    return this.table.descriptors.get(task.argument as number);
  }
}

class FdInstall extends TableOperation<number> {
  constructor(table: FileTable) {
    super(table, 'fd_install');
  }

  footprint(out: Access[]): void {
    out.push(access(this.table.variable, COMMUTE));
  }

  perform(task: Task): number {
    return this.table.install(task, task.argument as File);
  }

  override describe(): string {
    return this.label;
  }
}

/** Looks a file up and uses it until {@link fdput}. */
class Fdget extends TableOperation<File | null> {
  override readonly footprintVaries = true;
  constructor(table: FileTable) {
    super(table, 'fdget');
  }

  footprint(out: Access[], task: Task): void {
    const descriptor = this.descriptorOf(task);
    if (descriptor === undefined) return;
    out.push(access(descriptor.variable, READ));
    callFootprint(descriptor.file?.fCount.fops ?? null, out);
  }

  perform(task: Task): File | null {
    const descriptor = this.descriptorOf(task);
    const file = descriptor?.file ?? null;
    if (file === null) return null;
    running.after((descriptor as Descriptor).installedAt);
    running.touch(file.memory, 'f_count');
    file.fCount.using += 1;
    return file;
  }
}

class RemoveDescriptor extends TableOperation<File | null> {
  override readonly footprintVaries = true;
  constructor(table: FileTable) {
    super(table, 'close_fd');
  }

  footprint(out: Access[], task: Task): void {
    out.push(access(this.table.variable, COMMUTE));
    const descriptor = this.descriptorOf(task);
    if (descriptor === undefined) return;
    out.push(access(descriptor.variable, WRITE));
    callFootprint(descriptor.file?.fCount.fops ?? null, out);
  }

  perform(task: Task): File | null {
    const descriptor = this.descriptorOf(task);
    if (descriptor === undefined || descriptor.file === null) return null;
    const { file } = descriptor;
    running.after(descriptor.installedAt);
    descriptor.file = null;
    return file;
  }
}

class Dup extends TableOperation<number> {
  override readonly footprintVaries = true;
  constructor(table: FileTable) {
    super(table, 'dup');
  }

  footprint(out: Access[], task: Task): void {
    out.push(access(this.table.variable, COMMUTE));
    const descriptor = this.descriptorOf(task);
    if (descriptor === undefined) return;
    out.push(access(descriptor.variable, READ));
    descriptor.file?.fCount.getOperation.footprint(out);
  }

  perform(task: Task): number {
    const descriptor = this.descriptorOf(task);
    const file = descriptor?.file ?? null;
    if (file === null) return -EBADF;
    running.after((descriptor as Descriptor).installedAt);
    running.touch(file.memory, 'f_count');
    file.fCount.lasting += 1;
    return this.table.install(task, file);
  }
}

class CopyTable extends TableOperation<FileTable> {
  override readonly footprintVaries = true;
  constructor(table: FileTable) {
    super(table, 'dup_fd');
  }

  footprint(out: Access[]): void {
    out.push(access(this.table.variable, READ));
    for (const { file } of this.table.descriptors.values()) {
      file?.fCount.getOperation.footprint(out);
    }
  }

  perform(): FileTable {
    const copy = new FileTable();
    for (const [fd, { file, installedAt }] of this.table.descriptors) {
      if (file === null) continue;
      running.after(installedAt);
      file.fCount.lasting += 1;
      copy.descriptors.set(fd, new Descriptor(file));
    }
    return copy;
  }

  override describe(): string {
    return this.label;
  }
}

class ListDescriptors extends TableOperation<number[]> {
  constructor(table: FileTable) {
    super(table, 'exit_files');
  }

  footprint(out: Access[]): void {
    out.push(access(this.table.variable, READ));
  }

  perform(): number[] {
    return [...this.table.descriptors]
      .filter(([, { file }]) => file !== null)
      .map(([fd]) => fd)
      .toSorted((a, b) => a - b);
  }

  override describe(): string {
    return this.label;
  }
}

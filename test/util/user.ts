/** A program of one process on a machine in direct mode, for tests of system calls. */
import { runDirect } from '../../src/kernel/direct.ts';
import type { Yieldable } from '../../src/kernel/operation.ts';
import { bootMachine, type Machine, type MachineOptions } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';

export const PAGE = 4096;

export class User {
  readonly machine: Machine;
  readonly process: Process;

  constructor(options: Partial<MachineOptions> = {}) {
    this.machine = bootMachine(options);
    this.process = this.machine.process();
  }

  run<R>(call: Yieldable<R>): R {
    return runDirect(this.machine, call);
  }

  /** Maps some pages of private memory, to read and write, wherever there is room. */
  map(pages: number, options: Parameters<Process['mmap']>[2] = {}): number {
    return this.run(this.process.mmap(0, pages * PAGE, options));
  }

  /** A memfd of that many pages; the first byte of page i is `first` + i. */
  file(pages: number, first: number): number {
    const fd = this.run(this.process.memfdCreate('file'));
    this.run(this.process.ftruncate(fd, pages * PAGE));
    for (let page = 0; page < pages; page += 1) {
      this.run(this.process.pwrite(fd, [first + page], page * PAGE));
    }
    return fd;
  }

  /** For each page of a range, whether it is in memory; -errno if it is not mapped all through. */
  inMemory(start: number, pages: number): number[] | number {
    const result = this.run(this.process.mincore(start, pages * PAGE));
    return typeof result === 'number' ? result : [...result];
  }
}

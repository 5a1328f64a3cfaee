/**
 * What programs do with a GRU: the library's part, in user space. It is no part of the driver.
 *
 * A program maps /dev/gru, says what it wants, and makes the segment. It executes an instruction by storing into the
 * control block; that touches the segment, so that it is loaded. When the CB says so it calls the OS.
 */
import { EAGAIN, EFAULT } from '../../base/errno.ts';
import { MAP_SHARED } from '../../base/mman.ts';
import { fn } from '../../kernel/call.ts';
import type { Process } from '../../mm/process.ts';
import { GRU_CALL_OS, GRU_NOT_LOADED, gruExecute, type GruInstruction } from './gru-chiplet.ts';
import {
  GRU_CREATE_CONTEXT,
  GRU_DEVICE,
  GRU_SET_CONTEXT_OPTION,
  GRU_USER_CALL_OS,
} from './gru-file.ts';
import { GRU_GSEG_PAGESIZE, GRU_OPT_MISS_USER_POLL } from './gru-priv.ts';

/** A segment that a program has. Segments of one machine are at addresses of their own. */
export interface GruSegment {
  readonly process: Process;
  readonly fd: number;
  readonly gseg: number;
}

/** Opens the device and makes a segment at `gseg`: it, or -errno of the first call that failed. */
export const gruSegment = fn(
  function* gruSegment(process: Process, gseg: number, options: number = GRU_OPT_MISS_USER_POLL) {
    const fd = yield* process.open(GRU_DEVICE);
    if (fd < 0) return fd;
    const at = yield* process.mmap(gseg, GRU_GSEG_PAGESIZE, { flags: MAP_SHARED, fd });
    let error = at < 0 ? at : 0;
    if (error === 0 && options !== GRU_OPT_MISS_USER_POLL) {
      error = yield* process.ioctl(fd, GRU_CREATE_CONTEXT, { gseg, options });
    }
    if (error === 0) {
      const request = { gseg, op: 'sco_gseg_owner' };
      error = yield* process.ioctl(fd, GRU_SET_CONTEXT_OPTION, request);
    }
    return error === 0 ? ({ process, fd, gseg } as GruSegment) : error;
  },
  { name: 'gru_create_context' },
);

/** What a program stores to announce an instruction of this segment: never 0. */
function tagOf(gseg: number): number {
  return (Math.floor(gseg / GRU_GSEG_PAGESIZE) % 255) + 1;
}

/** Executes an instruction: the byte that was there; -EFAULT, -SIGBUS, -SIGSEGV; what calling the OS returned. */
export const gruRun = fn(
  function* gruRun({ process, fd, gseg }: GruSegment, instruction: GruInstruction) {
    const tag = tagOf(gseg);
    const signal = yield* process.store(gseg, tag);
    if (signal !== 0) return signal;
    for (;;) {
      const result = yield* gruExecute(tag, instruction);
      if (result === GRU_CALL_OS) {
        const error = yield* process.ioctl(fd, GRU_USER_CALL_OS, gseg);
        // What went wrong is in the CB.
        if (error !== 0 && error !== -EAGAIN && error !== -EFAULT) return error;
      } else if (result === GRU_NOT_LOADED) {
        const byte = yield* process.load(gseg);
        if (byte < 0) return byte;
      } else {
        return result;
      }
    }
  },
  { name: 'gru_wait' },
);

/** hfi1's calls: what they do, what they refuse, and whom they charge. */
import { expect, test } from 'vitest';
import { EFAULT, EINVAL, ENOSPC, ENOTTY, EPERM } from '../../../src/base/errno.ts';
import {
  HFI1_IOCTL_ASSIGN_CTXT,
  HFI1_IOCTL_TID_FREE,
  HFI1_IOCTL_TID_INVAL_READ,
  HFI1_IOCTL_TID_UPDATE,
  HFI1_PATH,
  HFI1_WRITEV,
  hfi1Fixed,
  hfi1V510,
  hfi1V53,
  hfi1V53Small,
  hfi1V62,
  hfi1V65,
  hfi1V65Small,
  hfiReceive,
  hfiSent,
  hfiWaitDone,
} from '../../../src/drivers/hfi1/index.ts';
import type { ModuleType } from '../../../src/kernel/module.ts';
import type { Body } from '../../../src/kernel/operation.ts';
import type { Process } from '../../../src/mm/process.ts';
import { PAGE_SIZE } from '../../../src/mm/vma.ts';
import { runOnMachine } from '../../util/machine.ts';

const ADDRESS = 0x40_0000;
const VERSIONS: readonly (readonly [string, ModuleType])[] = [
  ['v5.3', hfi1V53],
  ['v5.10', hfi1V510],
  ['v6.2', hfi1V62],
  ['v6.5', hfi1V65],
  ['fixed', hfi1Fixed],
];

/** A program with a page that is there, and the device open. */
function program(module: ModuleType, body: (process: Process, fd: number) => Body<unknown>) {
  return runOnMachine((machine) => {
    const process = machine.process();
    machine.load(module);
    return [
      function* user() {
        yield* process.mmap(ADDRESS, PAGE_SIZE);
        yield* process.store(ADDRESS, 7);
        yield* body(process, yield* process.open(HFI1_PATH));
      },
    ];
  });
}

test.each(VERSIONS)('%s: a TID receives until it is freed, and is charged for', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    yield* process.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT);
    const tid = yield* process.ioctl(fd, HFI1_IOCTL_TID_UPDATE, ADDRESS);
    seen.push(process.mm!.pinnedVm.value, yield* hfiReceive(tid, 42), yield* process.load(ADDRESS));
    seen.push(yield* process.ioctl(fd, HFI1_IOCTL_TID_INVAL_READ));
    seen.push(yield* process.ioctl(fd, HFI1_IOCTL_TID_FREE, tid));
    seen.push(process.mm!.pinnedVm.value, yield* hfiReceive(tid, 43));
  });
  expect(seen).toEqual([1, 7, 42, 0, 0, 0, -EFAULT]);
});

test.each(VERSIONS)('%s: what cannot be is refused', (_name, module) => {
  const seen: number[] = [];
  program(module, function* body(process, fd) {
    seen.push(yield* process.ioctl(fd, 'TIOCGWINSZ'));
    seen.push(yield* process.ioctl(fd, HFI1_IOCTL_TID_UPDATE, ADDRESS));
    seen.push(yield* process.ioctl(fd, HFI1_WRITEV, ADDRESS));
    yield* process.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT);
    seen.push(yield* process.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT));
    seen.push(yield* process.ioctl(fd, HFI1_IOCTL_TID_UPDATE, ADDRESS + PAGE_SIZE));
    seen.push(yield* process.ioctl(fd, HFI1_IOCTL_TID_FREE, 0));
  });
  expect(seen).toEqual([-ENOTTY, -EINVAL, -EINVAL, -EINVAL, -EFAULT, -EINVAL]);
});

test('there are no more TIDs than entries', () => {
  const seen: number[] = [];
  program(hfi1Fixed, function* body(process, fd) {
    yield* process.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT);
    for (let at = 0; at < 3; at += 1) {
      seen.push(yield* process.ioctl(fd, HFI1_IOCTL_TID_UPDATE, ADDRESS));
    }
  });
  expect(seen).toEqual([0, 1, -ENOSPC]);
});

test('from v5.10 on nobody sends by the cache of another process', () => {
  const seen: number[] = [];
  program(hfi1V510, function* body(process, fd) {
    yield* process.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT);
    const child = (yield* process.fork()) as Process;
    seen.push(yield* child.ioctl(fd, HFI1_WRITEV, ADDRESS));
  });
  expect(seen).toEqual([-EPERM]);
});

test.each([
  ['v5.3', hfi1V53Small],
  ['v6.5', hfi1V65Small],
])('%s: a cache that is full lets go of what nobody uses', (_name, module) => {
  const pinned: number[] = [];
  let sent: readonly number[] = [];
  program(module, function* body(process, fd) {
    const second = ADDRESS + PAGE_SIZE;
    yield* process.mmap(second, PAGE_SIZE);
    yield* process.store(second, 8);
    yield* process.ioctl(fd, HFI1_IOCTL_ASSIGN_CTXT);
    for (const [at, address] of [ADDRESS, second, second, ADDRESS].entries()) {
      yield* process.ioctl(fd, HFI1_WRITEV, address);
      yield* hfiWaitDone(at + 1);
      pinned.push(process.mm!.pinnedVm.value);
    }
    sent = hfiSent();
    yield* process.close(fd);
    pinned.push(process.mm!.pinnedVm.value);
  });
  expect(sent).toEqual([7, 8, 8, 7]);
  expect(pinned).toEqual([1, 1, 1, 1, 0]);
});

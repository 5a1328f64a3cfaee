/**
 * The smallest driver that maps frames of its own into processes: a device whose file is a window on buffers of one
 * page each, at page offset 0, 1, … Made for what goes wrong between unmap_mapping_range and munmap.
 *
 * A buffer that nobody needs at the moment is evicted: taken out of all processes. Its frame is kept for the next
 * buffer that is mapped; trimming frees frames that are kept. What is mapped of an evicted buffer faults: SIGBUS.
 *
 * No page is counted for being mapped. That the frame of an evicted buffer may be used for something else rests on
 * unmap_mapping_range alone: when it returns, no CPU has the frame any more.
 *
 * Left out: contents that are saved and brought back, faults, more than one page in a buffer.
 */
import { EINVAL, ENOMEM, ENOTTY } from '../../base/errno.ts';
import { registerChrdev, unregisterChrdev } from '../../kernel/file.ts';
import type { File, FileOperations } from '../../kernel/open-file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex, mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { embed, ptr } from '../../kernel/struct.ts';
import { allocPage, putPage } from '../../mm/frames.ts';
import { remapPfnRange, unmapMappingRange } from '../../mm/pfn-map.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { AddressSpace } from '../../mm-types/address-space.ts';
import { pageToPfn, type Page } from '../../mm-types/page.ts';
import type { VmArea } from '../../mm-types/vma.ts';

const aperture = moduleText('aperture');
const { fn } = aperture;

export const APERTURE_DEVICE = '/dev/aperture';
/** Takes the buffer at the page offset that is the argument out of all processes. */
export const APERTURE_IOC_EVICT = 'APERTURE_IOC_EVICT';
/** Frees the frame that is kept. */
export const APERTURE_IOC_TRIM = 'APERTURE_IOC_TRIM';

const BUFFER_COUNT = 2;

const globals = aperture.data({
  /** Protects the frames. Taken inside mmap_sem, and outside the lock of the file's mappings. */
  lock: mutex(),
  /** All mappings of the device's file. */
  mapping: embed(AddressSpace),
  /** The frames of the buffers; NULL for one that was evicted, or never mapped. */
  first: ptr<Page>(),
  second: ptr<Page>(),
  /** Kept for the next buffer, or NULL. */
  kept: ptr<Page>(),
});

const BUFFERS = ['first', 'second'] as const;

/** The frame of a buffer, which it is given if it has none. NULL without memory. */
const bufferFrame = fn(function* apertureBufferFrame(index: number) {
  const data = globals();
  const name = BUFFERS[index] as (typeof BUFFERS)[number];
  const there = data[name];
  if (there !== null) return there;
  const frame = data.kept ?? (yield* allocPage(GFP_KERNEL));
  data.kept = null;
  data[name] = frame;
  return frame;
});

const apertureMmap = fn(function* apertureMmap(_file: File, vma: VmArea) {
  const data = globals();
  const index = vma.vmPgoff;
  if (index >= BUFFER_COUNT || vma.vmEnd - vma.vmStart !== PAGE_SIZE) return -EINVAL;
  vma.mapping = data.mapping;
  yield* mutexLock(data.lock);
  const frame = yield* bufferFrame(index);
  const error =
    frame === null ? -ENOMEM : yield* remapPfnRange(vma, vma.vmStart, pageToPfn(frame), PAGE_SIZE);
  yield* mutexUnlock(data.lock);
  return error;
});

const apertureEvict = fn(function* apertureEvict(index: number) {
  const data = globals();
  const name = BUFFERS[index];
  if (name === undefined) return -EINVAL;
  yield* mutexLock(data.lock);
  yield* unmapMappingRange(data.mapping, index * PAGE_SIZE, PAGE_SIZE, true);
  const frame = data[name];
  const surplus = frame === null ? null : data.kept;
  if (frame !== null) {
    data[name] = null;
    data.kept = frame;
  }
  yield* mutexUnlock(data.lock);
  if (surplus !== null) yield* putPage(surplus);
  return 0;
});

const apertureTrim = fn(function* apertureTrim() {
  const data = globals();
  yield* mutexLock(data.lock);
  const frame = data.kept;
  data.kept = null;
  yield* mutexUnlock(data.lock);
  if (frame !== null) yield* putPage(frame);
  return 0;
});

const apertureIoctl = fn(function* apertureIoctl(
  _file: File,
  command: number | string,
  argument: number,
) {
  if (command === APERTURE_IOC_EVICT) return yield* apertureEvict(argument);
  if (command === APERTURE_IOC_TRIM) return yield* apertureTrim();
  return -ENOTTY;
});

const apertureFops: FileOperations = {
  owner: aperture.text,
  ioctl: apertureIoctl,
  mmap: apertureMmap,
};

/** The module. It can be unloaded when no file of it is open or mapped. */
export const apertureModule = aperture.module({
  data: globals,
  init: fn(function* apertureInit() {
    return yield* registerChrdev(APERTURE_DEVICE, apertureFops);
  }),
  exit: fn(function* apertureExit() {
    yield* unregisterChrdev(APERTURE_DEVICE);
    const { first, second, kept } = globals();
    for (const frame of [first, second, kept]) if (frame !== null) yield* putPage(frame);
  }),
});

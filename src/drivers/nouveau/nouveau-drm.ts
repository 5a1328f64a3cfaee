/** /dev/dri/card0: how programs reach the driver. */
import { EBUSY, EINVAL, ENOMEM, ENOTTY } from '../../base/errno.ts';
import type { File, FileOperations } from '../../kernel/file.ts';
import { GFP_KERNEL } from '../../kernel/gfp.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import { kfree, kzalloc } from '../../kernel/slab.ts';
import { nouveau, NouveauCli } from './nouveau-priv.ts';
import {
  nouveauChannelDel,
  nouveauCliFini,
  nouveauSvmmInit,
  nouveauSvmmJoin,
  type SvmInit,
} from './nouveau-svm.ts';

const { fn } = nouveau;

export const NOUVEAU_DEVICE = '/dev/dri/card0';
/** Enables SVM; the argument is {@link SvmInit}. */
export const DRM_NOUVEAU_SVM_INIT = 'DRM_NOUVEAU_SVM_INIT';
/** Makes the channel; returns the number of its address space, by which the GPU knows it. */
export const DRM_NOUVEAU_CHANNEL_ALLOC = 'DRM_NOUVEAU_CHANNEL_ALLOC';
/** Ends the channel. */
export const DRM_NOUVEAU_CHANNEL_FREE = 'DRM_NOUVEAU_CHANNEL_FREE';

const nouveauDrmOpen = fn(function* nouveauDrmOpen(file: File) {
  const cli = yield* kzalloc(NouveauCli, GFP_KERNEL);
  if (cli === null) return -ENOMEM;
  file.privateData = cli;
  return 0;
});

const nouveauDrmPostclose = fn(function* nouveauDrmPostclose(file: File) {
  const cli = file.privateData as NouveauCli;
  yield* nouveauCliFini(cli);
  yield* kfree(cli);
});

/** 0 and above: the address space; -EINVAL without SVM, -EBUSY if there is a channel, -ENOMEM. */
const channelAlloc = fn(
  function* channelAlloc(cli: NouveauCli) {
    const { svmm, vmm } = cli;
    if (svmm === null) return -EINVAL;
    if (cli.hasChannel) return -EBUSY;
    const error = yield* nouveauSvmmJoin(svmm, vmm!.space);
    if (error !== 0) return error;
    cli.hasChannel = true;
    return vmm!.space;
  },
  { name: 'nouveau_channel_new' },
);

const nouveauDrmIoctl = fn(function* nouveauDrmIoctl(
  file: File,
  command: number | string,
  argument: unknown,
) {
  const cli = file.privateData as NouveauCli;
  if (command === DRM_NOUVEAU_SVM_INIT) return yield* nouveauSvmmInit(cli, argument as SvmInit);
  if (command !== DRM_NOUVEAU_CHANNEL_ALLOC && command !== DRM_NOUVEAU_CHANNEL_FREE) return -ENOTTY;
  yield* mutexLock(cli.mutex);
  let result = 0;
  if (command === DRM_NOUVEAU_CHANNEL_ALLOC) result = yield* channelAlloc(cli);
  else yield* nouveauChannelDel(cli);
  yield* mutexUnlock(cli.mutex);
  return result;
});

export const nouveauFops: FileOperations = {
  owner: nouveau.text,
  open: nouveauDrmOpen,
  release: nouveauDrmPostclose,
  ioctl: nouveauDrmIoctl,
};

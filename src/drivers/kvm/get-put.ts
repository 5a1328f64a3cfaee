/**
 * What the series must not do to kvm: its notifier by mmu_notifier_get and put. No kernel has this.
 *
 * get finds a notifier by its ops table, one for an mm. A program that makes two VMs gets that of the first for the
 * second: the second is never called, and its SPTEs stay when pages go. When the first is destroyed its put is not the
 * last one, and the list goes on with a VM that is freed. Two VMs need two notifiers, which is what registering is for.
 *
 * For a single VM it works: put, then wait until free_notifier was called.
 */
import { errPtr, isErr, ptrErr } from '../../kernel/err-ptr.ts';
import { ENOENT } from '../../base/errno.ts';
import { mutexLock, mutexUnlock } from '../../kernel/mutex.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { mmuNotifierSynchronizeV317 } from '../../mmu-notifier/before-series.ts';
import { mmuNotifierGet, mmuNotifierPut } from '../../mmu-notifier/get-put.ts';
import type { MmuNotifier, MmuNotifierOps } from '../../mmu-notifier/mmu-notifier.ts';
import { kvmMmuNotifierOps, kvmVersionV53 } from './before-series.ts';
import { globals, kvmModule, type Kvm, type KvmVersion } from './kvm.ts';
import { kvmArchFlushShadowAll } from './spte.ts';

const { fn } = kvmModule;

/** The VM that is being made. `kvm_lock` is held. */
const kvmAllocNotifier = fn(function* kvmAllocNotifier(_mm: MmStruct) {
  const kvm = globals().creating;
  return kvm === null ? errPtr(-ENOENT) : kvm.mmuNotifier;
});

/** Who has put waits for this, and frees the VM itself. */
const kvmFreeNotifier = fn(function* kvmFreeNotifier(_mn: MmuNotifier) {
  // The VM is freed by kvm_destroy_vm.
});

const kvmGetPutOps: MmuNotifierOps = {
  ...kvmMmuNotifierOps,
  allocNotifier: kvmAllocNotifier,
  freeNotifier: kvmFreeNotifier,
};

const kvmInitMmuNotifier = fn(function* kvmInitMmuNotifier(kvm: Kvm) {
  yield* mutexLock(globals().kvmLock);
  globals().creating = kvm;
  const mn = yield* mmuNotifierGet(kvmGetPutOps, kvm.mm!);
  globals().creating = null;
  yield* mutexUnlock(globals().kvmLock);
  if (isErr(mn)) return ptrErr(mn);
  kvm.mn = mn;
  return 0;
});

const kvmExitMmuNotifier = fn(
  function* kvmExitMmuNotifier(kvm: Kvm) {
    // put calls no release.
    yield* kvmArchFlushShadowAll(kvm);
    yield* mmuNotifierPut(kvm.mn!);
    yield* mmuNotifierSynchronizeV317();
  },
  { name: 'kvm_destroy_vm' },
);

export const kvmVersionGetPut: KvmVersion = {
  ...kvmVersionV53,
  register: kvmInitMmuNotifier,
  unregister: kvmExitMmuNotifier,
};

/**
 * kvm: its structures and globals. A hypervisor: what a guest takes for physical memory is memory of the program that
 * runs it, translated a second time.
 *
 *     guest physical address   ── memslot ──>   address of the program   ── page tables ──>   page
 *              └────────────────────── SPTE: the shortcut that hardware takes ───────────────┘
 *
 *     file ──> kvm { mmu_notifier, mmu_lock, memslots ──srcu──> kvm_memslots { kvm_memory_slot, … } }
 *               └ vcpus[] { mutex }
 *
 * An SPTE must go before the program's page table changes, and must not be made from what was looked up before. There
 * is no tree of ranges and no list: a notifier is told of addresses of the program, and the slots say which pages of
 * the guest that is. No SPTE holds a reference to its page.
 *
 * Modelled: memory slots that come, move and go under SRCU; vCPUs that run guest code, fault, look the page up and try
 * again when something was invalidated meanwhile; accessed bits and their ageing; write-protection for the log of dirty
 * pages; a cache through which the host itself writes to a page of the guest. Simplified: opening /dev/kvm and
 * KVM_CREATE_VM are one, and vCPUs are run through the VM's file; one KVM_RUN runs a given list of instructions; a read
 * fault maps for reading only; all vCPUs of a VM share one TLB, which a flush empties of the range that was zapped, slot by
 * slot. Left out: the page of the APIC, tlbs_dirty, shadow paging and nesting, large pages, MMIO beyond the exit, asynchronous page faults, address spaces,
 * interrupts. A VM has three slots, two vCPUs and sixteen pages of guest memory.
 *
 * Lock order: `slots_lock`, `mmap_sem` (faults), page-table locks (ageing), `gpc.lock`, `mmu_lock`,
 * `mn_invalidate_lock`. The page of a fault is looked up in an SRCU section of the VM, which the change of slots
 * waits for, so a notifier must never wait for `slots_lock`.
 */
import { deviceTranslations, type DeviceTranslations } from '../../device/translations.ts';
import { array } from '../../kernel/array.ts';
import type { KernelCallable } from '../../kernel/call.ts';
import { listHead, listNode } from '../../kernel/list.ts';
import { moduleText } from '../../kernel/module.ts';
import { mutex } from '../../kernel/mutex.ts';
import { rwsem } from '../../kernel/rwsem.ts';
import { spinlock } from '../../kernel/spinlock.ts';
import { srcuStruct } from '../../kernel/srcu.ts';
import { embed, field, ptr, struct, type InstanceOf } from '../../kernel/struct.ts';
import { waitQueueHead } from '../../kernel/wait.ts';
import type { MmStruct } from '../../mm-types/mm-struct.ts';
import { MmuNotifier } from '../../mmu-notifier/mmu-notifier.ts';

export const kvmModule = moduleText('kvm');

/** Slots of a VM. */
export const KVM_MEM_SLOTS_NUM = 3;
export const KVM_MAX_VCPUS = 2;
/** Pages of guest memory: gfns are below. */
export const GUEST_PAGE_COUNT = 16;

export const KVM_MEM_LOG_DIRTY_PAGES = 1;
export const KVM_MEM_READONLY = 2;
/** The slot is about to go or to move: what is in it is not memory. Never seen by programs. */
export const KVM_MEMSLOT_INVALID = 1 << 16;

/** Page numbers of the guest [baseGfn, baseGfn + npages), and where the program has them. */
export const KvmMemorySlot = struct('kvm_memory_slot', {
  baseGfn: 0,
  /** 0: there is no such slot. */
  npages: 0,
  userspaceAddr: 0,
  flags: 0,
});
export type KvmMemorySlot = InstanceOf<typeof KvmMemorySlot>;

/** All slots at one time. Never changed once it is published: a copy takes its place. */
export const KvmMemslots = struct('kvm_memslots', {
  generation: 0,
  memslots: array(KVM_MEM_SLOTS_NUM, embed(KvmMemorySlot)),
});
export type KvmMemslots = InstanceOf<typeof KvmMemslots>;

export const KvmVcpu = struct('kvm_vcpu', {
  /** Held while it runs. */
  mutex: mutex(),
  isCreated: field(false),
});
export type KvmVcpu = InstanceOf<typeof KvmVcpu>;

/** A page of the guest that the host itself writes to, with how to reach it. */
export const GfnToPfnCache = struct('gfn_to_pfn_cache', {
  /** From v5.19 on: who makes it valid, one at a time. */
  refreshLock: mutex(),
  /** Protects all below; a rwlock in the kernel. Invalidation takes it. */
  lock: spinlock(),
  isActive: field(false),
  gpa: 0,
  /** The address of the program that it was for, and of which generation of the slots that is. */
  uhva: 0,
  generation: -1,
  isValid: field(false),
  /** Where the page is mapped in the kernel: `mapping`, or NULL. */
  khva: ptr<DeviceTranslations>(),
  /** Page 0 of it. */
  mapping: deviceTranslations(),
});
export type GfnToPfnCache = InstanceOf<typeof GfnToPfnCache>;

export const Kvm = struct('kvm', {
  mmuNotifier: embed(MmuNotifier),
  /** Under it SPTEs are made and go. Callbacks take it. */
  mmuLock: spinlock(),
  /**
   * Goes on with each end. Written under mmu_lock. A fault reads it without, before it looks the page up, and again
   * under the lock.
   */
  mmuNotifierSeq: 0,
  /** Ranges between start and end that a fault has to wait for. Under mmu_lock. */
  mmuNotifierCount: 0,
  /** From v5.12 on: where those ranges are, in addresses of the program. Under mmu_lock. */
  mmuNotifierRangeStart: 0,
  mmuNotifierRangeEnd: 0,
  /** From v5.15 on: ranges between start and end, whether or not a slot is hit. */
  mnInvalidateLock: spinlock(),
  mnActiveInvalidateCount: 0,
  /** An attempt of 2021: read-held from each start to its end, held for writing to publish slots. */
  mmuNotifierSlotsLock: rwsem(),
  /** Who changes the slots waits here until there is none. */
  mnMemslotsUpdateRcuwait: waitQueueHead(),
  /** The second translation: gfn to frame. */
  spt: deviceTranslations({ hasTlb: true, hasAccessedBit: true }),
  /** Whose memory it is: pinned by mm_count. */
  mm: ptr<MmStruct>(),
  /** Who changes the slots: one at a time. May be held while waiting for readers. */
  slotsLock: mutex(),
  /** Read under `srcu`. */
  memslots: ptr<KvmMemslots>(),
  srcu: srcuStruct(),
  /** Pages of the guest that were written since the log was read, by gfn: bits. Under mmu_lock. */
  dirtyBitmap: 0,
  vcpus: array(KVM_MAX_VCPUS, embed(KvmVcpu)),
  gpc: embed(GfnToPfnCache),
  vmList: listNode(),
  /** get-put only: the notifier that it got. */
  mn: ptr<MmuNotifier>(),
});
export type Kvm = InstanceOf<typeof Kvm>;

/** Where versions of kvm_main.c differ. */
export interface KvmVersion {
  /** `kvm_init_mmu_notifier(kvm)`: 0 or -errno. May sleep. */
  readonly register: KernelCallable<[Kvm], number>;
  /** Ends it: when this returns nobody calls the VM any more, or (get-put) somebody else frees it. May sleep. */
  readonly unregister: KernelCallable<[Kvm], void>;
  /** Publishes other slots; does not wait for readers. `slots_lock` is held. May sleep. */
  readonly publishMemslots: KernelCallable<[Kvm, KvmMemslots], void>;
  /** `mmu_notifier_retry`: whether what was looked up at `hva` since the sequence was `seq` is old. mmu_lock is held. */
  readonly mmuNotifierRetry: KernelCallable<[Kvm, number, number], boolean>;
  /** Whether a fault at `hva` would be told to try again, raw: see page-fault.ts. */
  readonly isHeldUp: (kvm: Kvm, hva: number) => boolean;
  /**
   * `hva_to_pfn_retry`: makes the cache valid; 0 or -EFAULT. `gpc.lock` is held, and let go of meanwhile. NULL where
   * there is no such cache yet.
   */
  readonly hvaToPfnRetry: KernelCallable<[Kvm, GfnToPfnCache], number> | null;
  /** Whether the cache is refreshed by one at a time. */
  readonly refreshesAlone?: boolean;
}

export const globals = kvmModule.data({
  /** Protects `vm_list`. */
  kvmLock: mutex(),
  vmList: listHead(),
  /** get-put only: the VM that is being made. */
  creating: ptr<Kvm>(),
  /** Which version is linked in. */
  version: ptr<KvmVersion>(),
});

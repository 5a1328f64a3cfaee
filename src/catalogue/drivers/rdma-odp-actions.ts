/** What can happen to a process that has a region, by name: see pairs.ts. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import { DEREG_MR, ibUverbs, mlx5Ib, rdmaWrite, REG_MR } from '../../drivers/rdma-odp/index.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { ADDRESS, EXPLICIT, OLD, prefetch, type Rdma } from './rdma-odp-subject.ts';

const WRITTEN = 7;

export const ACTIONS = {
  *register({ process, fd }: Rdma) {
    yield* process.ioctl(fd, REG_MR, EXPLICIT);
  },
  *dereg({ process, fd, key }: Rdma) {
    yield* process.ioctl(fd, DEREG_MR, key);
  },
  *access({ nic, key }: Rdma) {
    yield* rdmaWrite(nic, { key, address: ADDRESS }, WRITTEN);
  },
  *prefetch(state: Rdma) {
    yield* prefetch(state);
  },
  *munmap({ process }: Rdma) {
    yield* process.munmap(ADDRESS, PAGE_SIZE);
  },
  *dontneed({ process }: Rdma) {
    yield* process.madvise(ADDRESS, PAGE_SIZE, MADV_DONTNEED);
  },
  *mprotect({ process }: Rdma) {
    yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
  },
  /** The child stays. */
  *fork({ process }: Rdma) {
    yield* process.fork();
  },
  /** Of a page that set-up has shared with a child. */
  *cow({ process }: Rdma) {
    yield* process.store(ADDRESS, OLD);
  },
  *reclaim({ mm }: Rdma) {
    yield* reclaimPage(mm, ADDRESS, true);
  },
  *exit({ process }: Rdma) {
    yield* process.exit();
  },
  *unload() {
    yield* unloadModules();
  },
};

/** The adapter's driver, and what it needs, if they let. */
export function* unloadModules(): Body<void> {
  if ((yield* unloadModule(mlx5Ib.text)) === 0) yield* unloadModule(ibUverbs.text);
}

/** What can happen to a process that has a region, by name, and tasks that do some of that side by side. */
import { MADV_DONTNEED, PROT_READ } from '../../base/mman.ts';
import type { TaskDefinition, Variant } from '../../check/scenario.ts';
import { DEREG_MR, ibUverbs, mlx5Ib, rdmaWrite, REG_MR } from '../../drivers/rdma-odp/index.ts';
import { goal } from '../../kernel/choose.ts';
import { unloadModule } from '../../kernel/module.ts';
import type { Body } from '../../kernel/operation.ts';
import { reclaimPage } from '../../mm/reclaim.ts';
import { PAGE_SIZE } from '../../mm/vma.ts';
import { ADDRESS, EXPLICIT, OLD, prefetch, type Rdma } from './rdma-odp-subject.ts';

const WRITTEN = 7;

const ACTIONS = {
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
  *fork({ process }: Rdma) {
    yield* process.fork();
    // The sharing ends here; the child stays.
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

/** Every pair, also of one with itself. Those that are not in `special` are expected to be clean. */
export function pairs(special: Readonly<Record<string, Variant>>): Record<string, Variant> {
  const names = Object.keys(ACTIONS);
  const found: Record<string, Variant> = {};
  for (const [at, first] of names.entries()) {
    for (const second of names.slice(at)) {
      const pair = `${first}+${second}`;
      found[pair] = special[pair] ?? { expect: { verdict: 'clean' } };
    }
  }
  return found;
}

/** Tasks which do what the variant's name lists, and that each of them comes to its end. */
export function sideBySide<N extends 'first' | 'second' | 'third'>(...names: readonly N[]) {
  const tasks = {} as Record<N, TaskDefinition<Rdma>>;
  for (const [at, name] of names.entries()) {
    tasks[name] = {
      *run(state, variant) {
        const action = variant.split('+')[at] as keyof typeof ACTIONS;
        yield* ACTIONS[action](state);
        goal(`the ${name} is done`);
      },
    };
  }
  return { tasks, goals: names.map((name) => `the ${name} is done`) };
}

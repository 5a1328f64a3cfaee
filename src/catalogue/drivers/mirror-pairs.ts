/**
 * nouveau and amdgpu: every pair of what can happen to a client that the scenarios of their own do not have. Both run
 * with what is known to be wrong mended: nothing may be found.
 */
import type { TaskDefinition } from '../../check/scenario.ts';
import {
  AMDGPU_DEVICE,
  AMDGPU_GEM_USERPTR_REGISTER,
  amdgpuV55,
  DRM_AMDGPU_GEM_USERPTR,
} from '../../drivers/amdgpu/index.ts';
import { hmmSeries } from '../../drivers/hmm/index.ts';
import { DRM_NOUVEAU_SVM_INIT, NOUVEAU_DEVICE } from '../../drivers/nouveau/index.ts';
import { unloadModule } from '../../kernel/module.ts';
import { defineScenario } from '../define-scenario.ts';
import * as amdgpu from './amdgpu-subject.ts';
import * as nouveau from './nouveau-subject.ts';
import { sideBySide, variantsOf, type Actions } from './pairs.ts';

/** What scenarios have as tasks, as actions. */
function actionsOf<S>(tasks: Readonly<Record<string, TaskDefinition<S>>>): Actions<S> {
  return Object.fromEntries(
    Object.entries(tasks).map(([name, task]) => [name, (state: S) => task.run(state, '')]),
  );
}

// ---- nouveau ---------------------------------------------------------------------------------------

const init: TaskDefinition<nouveau.NouveauState> = {
  *run({ process }) {
    const fd = yield* process.open(NOUVEAU_DEVICE);
    if (fd < 0) return;
    yield* process.ioctl(fd, DRM_NOUVEAU_SVM_INIT, nouveau.HOLE);
  },
};

const unload: TaskDefinition<{ readonly module: Parameters<typeof unloadModule>[0] }> = {
  *run({ module }) {
    yield* unloadModule(module);
  },
};

export const nouveauPairs = defineScenario<nouveau.NouveauState>({
  name: 'nouveau-pairs',
  models: ['I1', 'I8a', 'I8b', 'I12'],
  about: 'what can happen to a client of nouveau, two at a time',
  variants: variantsOf([
    'init+mprotect',
    'init+fork',
    'init+dontneed',
    'init+reclaim',
    'init+exit',
    'init+init',
    'init+unload',
    'close+mprotect',
    'close+fork',
    'close+dontneed',
    'close+exit',
    'close+close',
    'close+unload',
    'access+access',
    'access+unload',
    'exit+reclaim',
    'exit+munmap',
  ]),
  setup: (machine) => nouveau.nouveauSubject(machine, nouveau.FIXED),
  finally: nouveau.unpin,
  ...sideBySide(
    actionsOf<nouveau.NouveauState>({
      init,
      unload,
      close: nouveau.close,
      access: nouveau.gpuWrites,
      exit: nouveau.exit,
      munmap: nouveau.munmap,
      mprotect: nouveau.mprotect,
      dontneed: nouveau.dontneed,
      reclaim: nouveau.reclaim,
      fork: {
        *run({ process }) {
          const child = yield* process.fork();
          if (typeof child !== 'number') yield* child.exit();
        },
      },
    }),
    'first',
    'second',
  ),
});

// ---- amdgpu ----------------------------------------------------------------------------------------

const register: TaskDefinition<amdgpu.AmdgpuState> = {
  *run({ process }) {
    const fd = yield* process.open(AMDGPU_DEVICE);
    if (fd < 0) return;
    const args = { ...amdgpu.USERPTR, flags: AMDGPU_GEM_USERPTR_REGISTER };
    yield* process.ioctl(fd, DRM_AMDGPU_GEM_USERPTR, args);
  },
};

export const amdgpuPairs = defineScenario<amdgpu.AmdgpuState>({
  name: 'amdgpu-pairs',
  models: ['I1', 'I8a', 'I8b', 'I12'],
  about: 'what can happen to a user pointer of amdgpu (v5.5), two at a time',
  variants: variantsOf([
    'register+mprotect',
    'register+fork',
    'register+dontneed',
    'register+reclaim',
    'register+exit',
    'register+unregister',
    'register+access',
    'register+unload',
    'unregister+munmap',
    'unregister+mprotect',
    'unregister+fork',
    'unregister+dontneed',
    'unregister+reclaim',
    'unregister+exit',
    'unregister+unregister',
    'access+access',
    'access+exit',
    'access+close',
    'close+munmap',
    'close+reclaim',
    'close+exit',
    'exit+unload',
    'exit+reclaim',
  ]),
  setup: (machine) => amdgpu.withUserptr(machine, { hmm: hmmSeries, module: amdgpuV55 }),
  finally: amdgpu.unpin,
  ...sideBySide(
    actionsOf<amdgpu.AmdgpuState>({
      register,
      unload,
      unregister: amdgpu.gemClose,
      access: amdgpu.submit,
      close: amdgpu.close,
      exit: amdgpu.exit,
      munmap: amdgpu.munmap,
      mprotect: amdgpu.mprotect,
      dontneed: amdgpu.dontneed,
      reclaim: amdgpu.reclaim,
      fork: amdgpu.fork,
    }),
    'first',
    'second',
  ),
});

/** sgi-gru by version: the modules that a scenario can load; and what programs need to use it. */
import { registerChrdev, unregisterChrdev } from '../../kernel/file.ts';
import { freeIrq, requestIrq } from '../../kernel/interrupt.ts';
import type { ModuleType } from '../../kernel/module.ts';
import { mmuNotifierSynchronize } from '../../mmu-notifier/get-put.ts';
import {
  gruDropMmuNotifier as dropBeforeSeries,
  gruRegisterMmuNotifier as registerBeforeSeries,
} from './before-series.ts';
import { GRU_IRQ, gruChiplets } from './gru-chiplet.ts';
import { gruIntr } from './gru-fault.ts';
import { GRU_DEVICE, gruFops } from './gru-file.ts';
import { allGrus, gidToGru, globals, sgiGru, type GmsLife } from './gru-priv.ts';
import {
  gruDropMmuNotifier as dropInSeries,
  gruRegisterMmuNotifier as registerInSeries,
  gruRegisterStopping as registerStopping,
} from './series.ts';

export { installGru, type GruInstruction, type GruOptions } from './gru-chiplet.ts';
export * from './gru-file.ts';
export { GRU_OPT_MISS_FMM_INTR, GRU_OPT_MISS_USER_POLL } from './gru-priv.ts';
export { gruRun, gruSegment, type GruSegment } from './gru-program.ts';

const { fn } = sgiGru;

function version(life: GmsLife, synchronizes: boolean): ModuleType {
  const init = fn(function* gruInit() {
    const data = globals();
    data.life = life;
    const chiplets = gruChiplets();
    data.chipletCount = chiplets.length;
    for (const chiplet of chiplets) {
      const gru = gidToGru(chiplet.gid);
      gru.gsGid = chiplet.gid;
      gru.gsChiplet = chiplet;
      const error = yield* requestIrq(GRU_IRQ + chiplet.gid, gruIntr, gru);
      if (error !== 0) return error;
    }
    return yield* registerChrdev(GRU_DEVICE, gruFops);
  });
  const exit = fn(function* gruExit() {
    for (const { gsGid } of allGrus()) yield* freeIrq(GRU_IRQ + gsGid);
    yield* unregisterChrdev(GRU_DEVICE);
    if (synchronizes) yield* mmuNotifierSynchronize();
  });
  return sgiGru.module({ data: globals, init, exit }) as unknown as ModuleType;
}

const AS_RELEASED = {
  allocatesUnder: 'write',
  closeUnloads: true,
  flushesLocked: false,
  theftLocks: false,
  faultsUnpreempted: true,
  faultsFail: false,
  misplacedUnloads: 'locked',
} as const;

const BEFORE: GmsLife = {
  ...AS_RELEASED,
  register: registerBeforeSeries,
  drop: dropBeforeSeries,
};

const AFTER: GmsLife = { ...AS_RELEASED, register: registerInSeries, drop: dropInSeries };

/** v5.3. */
export const gruV53 = version(BEFORE, false);
/** As patch 4 makes it; v5.4 and 6.1 are the same. */
export const gruSeries = version(AFTER, true);
/** Patch 4 without the wait at the end of the module. */
export const gruSeriesNoWait = version(AFTER, false);

// Either with one safeguard less, which B-6 needs: in v5.3 itself it stands in the way.

/** The ioctl that makes a GTS holds mmap_sem for reading only. */
export const gruV53ReadLock = version({ ...BEFORE, allocatesUnder: 'read' }, false);
export const gruSeriesReadLock = version({ ...AFTER, allocatesUnder: 'read' }, true);
/** The end of a mapping leaves its contexts loaded, until they are stolen. */
export const gruV53LateUnload = version({ ...BEFORE, closeUnloads: false }, false);
export const gruSeriesLateUnload = version({ ...AFTER, closeUnloads: false }, true);

// What mends the candidates (ours).

/** Patch 4 with what mends B-42 (643a16a0eb1d): who finds a context on the wrong chiplet lets go of it first. */
export const gruSeriesPlacement = version({ ...AFTER, misplacedUnloads: 'unlocked' }, true);

/**
 * Release stops the GRU, a flush keeps its segment, a thief its victim's mappings; a fault lets
 * itself be preempted.
 */
export const gruMended = version(
  {
    ...AFTER,
    register: registerStopping,
    flushesLocked: true,
    theftLocks: true,
    faultsUnpreempted: false,
    faultsFail: true,
  },
  true,
);

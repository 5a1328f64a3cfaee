/** Explores tasks that share a process, and audits the memory after each execution. */
import { defineScenario } from '../../src/catalogue/define-scenario.ts';
import { BoundedDpor } from '../../src/check/bounded-dpor.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { ExploreOptions } from '../../src/check/exploration.ts';
import { programOf } from '../../src/check/scenario.ts';
import { SourceDpor } from '../../src/check/source-dpor.ts';
import type { Budget } from '../../src/kernel/kernel.ts';
import type { Body } from '../../src/kernel/operation.ts';
import { running } from '../../src/kernel/running.ts';
import type { AddressSpace } from '../../src/mm-types/address-space.ts';
import type { ShmemFile } from '../../src/mm-types/shmem-file.ts';
import { mmdrop, mmgrab, type MmStruct } from '../../src/mm-types/mm-struct.ts';
import { vmas } from '../../src/mm-types/mm-take-all-locks.ts';
import { auditMemory, staleTranslations } from '../../src/mm/audit.ts';
import type { Machine } from '../../src/mm/machine.ts';
import type { Process } from '../../src/mm/process.ts';
import { Device, deviceRegister } from '../../src/drivers/subscriber/index.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { PTE_WRITE, ptePfn, ptePresent } from '../../src/mm-types/page-table.ts';
import { pfnToPage } from '../../src/mm/frames.ts';
import { pteIndex } from '../../src/mm/page-table-walk.ts';
import { mmuNotifierUnregister } from '../../src/mmu-notifier/register.ts';

const PAGE = 4096;
/** What the device follows. */
const DEVICE_ADDRESS = 0x1_0000_0000;

export interface Setting {
  readonly process: Process;
  readonly mm: MmStruct;
  /** Two pages long. */
  readonly fd: number;
  /** What tasks saw, in words. */
  readonly seen: string[];
  /** With `withDevice` only: of the page at 4 GiB. */
  readonly device: Device;
}

export type Task = (setting: Setting) => Body<unknown>;

export interface Explored {
  readonly executions: number;
  readonly isComplete: boolean;
  /** What was seen, each once. */
  readonly outcomes: string[];
  readonly problems: string[];
}

export interface MemoryOptions {
  readonly withDevice?: boolean;
  readonly faults?: Partial<Budget>;
  /** Left out: all executions, otherwise those with so many preemptions at most. */
  readonly preemptionCountMax?: number;
  /** Processes besides the first whose memory is to be audited. */
  readonly others?: (setting: Setting) => readonly Process[];
}

/** Runs tasks side by side in every way, and audits the memory after each. */
export function exploreMemory(
  prepare: (machine: Machine, s: Setting) => void,
  tasks: Readonly<Record<string, Task>>,
  options: MemoryOptions = {},
): Explored {
  const outcomes = new Set<string>();
  const problems = new Set<string>();
  const scenario = defineScenario<Setting>({
    name: 'memory',
    variants: { v: {} },
    faults: options.faults ?? {},
    setup(machine) {
      const process = machine.process();
      const mm = process.mm!;
      const fd = machine.runNow<number>(process.memfdCreate('f'));
      machine.runNow(process.ftruncate(fd, 2 * PAGE));
      // For tasks that are no threads of the process: it may exit.
      machine.runNow(mmgrab(mm));
      const device = (options.withDevice === true ? onTheMm(machine, mm) : null) as Device;
      const setting = { process, mm, fd, seen: [], device };
      prepare(machine, setting);
      return setting;
    },
    tasks: Object.fromEntries(Object.entries(tasks).map(([name, run]) => [name, { run }])),
    *finally(setting) {
      const { process, mm: pinned, fd, seen, device } = setting;
      outcomes.add(seen.toSorted().join(', '));
      const processes = [process, ...(options.others?.(setting) ?? [])];
      const mms = processes.map(({ mm }) => mm).filter((mm) => mm !== null);
      const file = processes.map(({ files }) => files.fileOf(fd)).find((open) => open !== null);
      const mapping =
        file === undefined || file === null ? null : (file.privateData as ShmemFile).mapping;
      if (mms.length > 0) {
        for (const problem of problemsOf(mms, mapping, device)) problems.add(problem);
      }
      if (device !== null) yield* mmuNotifierUnregister(device.mn, device.mn.mm!);
      yield* mmdrop(pinned);
    },
  });
  const program = programOf(scenario, 'v');
  const how: ExploreOptions = {
    watches: allDetectors(),
    executionCountMax: 20_000,
    onExecution({ kernel }) {
      for (const { message } of kernel.findings) problems.add(message);
      return false;
    },
  };
  const bound = options.preemptionCountMax;
  const explorer =
    bound === undefined ? new SourceDpor(program, how) : new BoundedDpor(program, bound, how);
  const result = explorer.run();
  return {
    executions: result.executions,
    isComplete: result.isComplete,
    outcomes: [...outcomes].toSorted(),
    problems: [...problems],
  };
}

function problemsOf(
  mms: readonly MmStruct[],
  file: AddressSpace | null,
  device: Device | null,
): string[] {
  const mappings = new Set<AddressSpace>();
  if (file !== null) mappings.add(file);
  for (const mm of mms) {
    for (const vma of vmas(mm)) if (vma.mapping !== null) mappings.add(vma.mapping);
  }
  return [
    ...auditMemory(running, { mms: [...mms], mappings: [...mappings] }),
    ...mms.flatMap((mm) => staleTranslations(mm).map(({ text }) => `a TLB entry ${text}`)),
    ...(device === null ? [] : staleEntry(device, mms[0] as MmStruct)),
  ];
}

/** A device that follows the mm. */
function onTheMm(machine: Machine, mm: MmStruct): Device {
  const device = allocateStatic(machine, Device);
  machine.runNow(deviceRegister(device, mm, DEVICE_ADDRESS));
  return device;
}

/** What is wrong with the entry of a device when nothing happens any more, in words. Raw. */
function staleEntry({ active, translations }: Device, mm: MmStruct): string[] {
  const problems = active === 0 ? [] : [`${active} ranges are open`];
  const entry = translations.table.get(0);
  if (entry === undefined) return problems;
  const table = mm.pageTables.find(DEVICE_ADDRESS, 1);
  const pte = table === null ? 0 : (table.ptes[pteIndex(DEVICE_ADDRESS)] as number);
  const isSame = ptePresent(pte) && ptePfn(pte) === entry.pfn;
  if (pfnToPage(entry.pfn) !== entry.page)
    problems.push('the device reaches a page that was freed');
  else if (!isSame) problems.push('the device reaches a page that was replaced');
  else if (entry.isWritable && (pte & PTE_WRITE) === 0) {
    problems.push('the device may write too much');
  }
  return problems;
}

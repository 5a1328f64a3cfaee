/**
 * A whole machine: the kernel with its mm and notifiers wired together, as scenarios boot it.
 */
import { Kernel, NO_FAULTS, type KernelOptions } from '../kernel/kernel.ts';
import { load, type ModuleType } from '../kernel/module.ts';
import { mmHooks } from '../mm-types/mm-struct.ts';
import { notifierDetectors } from '../mmu-notifier/detector/index.ts';
import { mmuNotifierMmDestroy } from '../mmu-notifier/release.ts';
import { setNotifierBehaviour, type NotifierBehaviour } from '../mmu-notifier/behaviour.ts';
import { setBehaviour, type Behaviour } from './behaviour.ts';
import { staleTranslation } from './detector/stale-translation.ts';
import { exitMmap } from './exit.ts';
import { frames } from './frames.ts';
import { createProcess, type Process } from './process.ts';
import { swapDevice } from './swap.ts';

/**
 * A machine that has been booted: a kernel with an mm. `runNow(call)` runs a call at once, for set-up; `runDirect`
 * is for machines that no checker runs.
 */
export class Machine extends Kernel {
  private processCount = 0;

  /** A new process with an empty address space. For set-up. */
  process(): Process {
    this.processCount += 1;
    const process = this.runNow<Process>(createProcess(100 * this.processCount));
    this.roots.push(process);
    return process;
  }

  /** Loads a module and runs its init. For set-up. */
  load(type: ModuleType): void {
    load(this, type);
  }
}

/** What {@link bootMachine} may be told. */
export interface MachineOptions extends KernelOptions {
  /** Where the mm is to differ from 6.18's. */
  readonly behaviour?: Partial<Behaviour>;
  /** Where the notifier core is to differ from the series'. */
  readonly notifiers?: Partial<NotifierBehaviour>;
}

/**
 * Boots a machine: fills in the calls that go upwards (exit_mmap, the end of the notifier list). Without
 * options nothing fails and nothing is watched, as direct mode wants it.
 */
export function bootMachine(options: Partial<MachineOptions> = {}): Machine {
  const { watches = [] } = options;
  const machine = new Machine({
    budget: NO_FAULTS,
    tracer: null,
    ...options,
    // Who is watched at all is held to the invariants of the mm and of its notifiers, too.
    watches:
      watches.length === 0 ? [] : [...watches, staleTranslation(), notifierDetectors(watches)],
  });
  if (options.behaviour !== undefined) setBehaviour(machine, options.behaviour);
  if (options.notifiers !== undefined) setNotifierBehaviour(machine, options.notifiers);
  // Made now: what they are numbered must not depend on who needs them first.
  frames(machine);
  swapDevice(machine);
  const hooks = mmHooks(machine);
  hooks.exitMmap = exitMmap;
  hooks.mmuNotifierMmDestroy = mmuNotifierMmDestroy;
  return machine;
}

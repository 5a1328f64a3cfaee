/**
 * Per-CPU variables: one instance of a struct for each CPU.
 *
 * Simplified: instances are made when they are first asked for; tasks never move to another CPU, so a
 * pointer stays the task's own also while preemption is on.
 */
import { perKernel } from './kernel.ts';
import { current, running } from './running.ts';
import { allocateStatic } from './slab.ts';
import type { Fields, Instance, StructType } from './struct.ts';

/** A per-CPU variable, made by {@link definePerCpu}. */
export interface PerCpu<F extends Fields> {
  /** `this_cpu_ptr(&name)`: the instance of the CPU that the current task runs on. */
  readonly thisCpuPtr: () => Instance<F>;
  /** `per_cpu_ptr(&name, cpu)`. */
  readonly perCpuPtr: (cpu: number) => Instance<F>;
}

/** `DEFINE_PER_CPU(type, name)`. Once, at module level. */
export function definePerCpu<F extends Fields>(type: StructType<F>): PerCpu<F> {
  const instances = perKernel(() => new Map<number, Instance<F>>());
  const perCpuPtr = (cpu: number): Instance<F> => {
    const known = instances(running);
    let instance = known.get(cpu);
    if (instance === undefined) {
      instance = allocateStatic(running, type);
      known.set(cpu, instance);
    }
    return instance;
  };
  return { perCpuPtr, thisCpuPtr: () => perCpuPtr(current().cpu.id) };
}

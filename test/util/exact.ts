/** The explorer must execute each trace of a program once, and the declared dependences must hold. */
import { expect } from 'vitest';
import type { Program } from '../../src/check/program.ts';
import { compare } from './brute-force.ts';

/** Expects that `program` has so many traces and that each is executed once. */
export function expectTraces(program: Program, traces: number): void {
  const { executions, missing, repeated, faults, ...rest } = compare(program);
  expect({ traces: rest.traces, executions, missing, repeated, faults }).toEqual({
    traces,
    executions: traces,
    missing: [],
    repeated: [],
    faults: [],
  });
}

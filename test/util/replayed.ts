/** What a counterexample finds when it comes out of its token. */
import { expect } from 'vitest';
import { allDetectors } from '../../src/check/detector/index.ts';
import type { Program, Schedule } from '../../src/check/program.ts';
import { replay } from '../../src/check/replay.ts';
import { identityOf } from '../../src/check/shorten.ts';
import { decodeToken, encodeToken } from '../../src/trace/token.ts';

/** The schedule as it comes out of its token. */
function throughToken(schedule: Schedule): Schedule {
  const content = { version: '0', scenario: 's', variant: 'v', schedule };
  return decodeToken(encodeToken(content)).schedule;
}

/** What is found when the schedule is replayed from its token, by identity. */
export function replayed(program: Program, schedule: Schedule): string[] {
  const options = { watches: allDetectors() };
  const { kernel, diverged } = replay(program, throughToken(schedule), options);
  expect(diverged).toBeNull();
  return kernel.findings.map((finding) => identityOf(finding));
}

/** Who is measured: runs a program again and again, as often as it is told. */
import { PROGRAM_VARIANT } from '../src/catalogue/define-program.ts';
import { allDetectors } from '../src/check/detector/index.ts';
import type { ExploreOptions, ExploreResult } from '../src/check/exploration.ts';
import type { Program } from '../src/check/program.ts';
import { programOf, type AnyScenario } from '../src/check/scenario.ts';
import { SourceDpor } from '../src/check/source-dpor.ts';
import { executeBare, executeByEngine } from './bare.ts';

/** How much was done. */
export interface Work {
  readonly executions: number;
  readonly blocked: number;
  readonly steps: number;
}

export interface Contestant {
  readonly name: string;
  /** Executes the program about `count` times: fewer if that is all there is to explore. */
  run(scenario: AnyScenario, count: number): Work;
}

export type ExplorerClass = new (
  program: Program,
  options?: ExploreOptions,
) => { run(): ExploreResult };

function repeated(name: string, execute: (scenario: AnyScenario) => number): Contestant {
  return {
    name,
    run(scenario, count) {
      let steps = 0;
      for (let done = 0; done < count; done += 1) steps += execute(scenario);
      return { executions: count, blocked: 0, steps };
    },
  };
}

function explorer(name: string, Explorer: ExplorerClass, hasDetectors: boolean): Contestant {
  return {
    name: hasDetectors ? `${name}+detectors` : name,
    run(scenario, count) {
      return new Explorer(programOf(scenario, PROGRAM_VARIANT), {
        executionCountMax: count,
        ...(hasDetectors ? { watches: allDetectors() } : {}),
      }).run();
    },
  };
}

export const BARE = repeated('bare', executeBare);

/** All that there are. An explorer that the sources do not have is left out. */
export async function contestants(): Promise<readonly Contestant[]> {
  const explorers: [string, ExplorerClass][] = [['source', SourceDpor]];
  const Optimal = await optionalExplorer('../src/check/optimal-dpor.ts', 'OptimalDpor');
  if (Optimal !== null) explorers.push(['optimal', Optimal]);
  return [
    BARE,
    repeated('engine', executeByEngine),
    ...explorers.flatMap(([name, Explorer]) => [
      explorer(name, Explorer, false),
      explorer(name, Explorer, true),
    ]),
  ];
}

async function optionalExplorer(path: string, name: string): Promise<ExplorerClass | null> {
  try {
    const module = (await import(path)) as Record<string, unknown>;
    return (module[name] as ExplorerClass | undefined) ?? null;
  } catch (error) {
    process.stderr.write(`bench: no ${name}: ${String(error)}\n`);
    return null;
  }
}

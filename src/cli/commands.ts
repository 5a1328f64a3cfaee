/**
 * The one table of commands, arguments and options: the parser, `--help` and the docs come from it.
 * A command's code is loaded when it is called, so that the others cost nothing.
 */
import {
  BOUNDS_FIRST_MAX,
  PCT_DEPTH_DEFAULT,
  SAMPLE_COUNT_DEFAULT,
  WORKER_COUNT_MAX,
} from '../base/limits.ts';
import { SAMPLER_NAMES, type SamplerName } from '../check/sampler/sampler.ts';
import { REPORTER_NAMES } from '../report/reporter-name.ts';
import type { Shard } from '../check/shared-tree.ts';
import { EXIT_CODE_TABLE } from './exit-code.ts';
import { parseReporter } from './report-target.ts';

export interface OptionDefinition {
  readonly flags: string;
  readonly about: string;
  /** Turns the text into a value; throws what is wrong with it. Left out for flags and names. */
  readonly parse?: (text: string) => unknown;
  /** True if it may be given several times; its value is a list. */
  readonly isList?: true;
}

/** What a command gets: positional arguments and options by camel-case name. */
export interface Invocation {
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

export interface CommandDefinition {
  readonly name: string;
  /** `<required> [optional] [any...]`, as help shows them. */
  readonly args: string;
  readonly about: string;
  readonly options: readonly OptionDefinition[];
  /** Returns the exit code. */
  readonly load: () => Promise<(invocation: Invocation) => Promise<number>>;
}

function count(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value === 0) {
    throw new Error('expected a whole number above 0');
  }
  return value;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new Error('expected a whole number');
  }
  return value;
}

function sampler(text: string): SamplerName {
  const found = SAMPLER_NAMES.find((name) => name === text);
  if (found === undefined) throw new Error(`expected one of ${SAMPLER_NAMES.join(', ')}`);
  return found;
}

function seconds(text: string): number {
  const value = Number(text.replace(/s$/, ''));
  if (!Number.isFinite(value) || value <= 0) throw new Error('expected seconds, like 30');
  return value;
}

const REPORTER_OPTION: OptionDefinition = {
  flags: '--reporter <name[=file]>',
  about:
    `write a report (may be given several times): ${REPORTER_NAMES.join(', ')}; ` +
    'without a file, in place of the text',
  parse: parseReporter,
  isList: true,
};

function workerCount(text: string): number {
  const value = count(text);
  if (value > WORKER_COUNT_MAX) throw new Error(`expected at most ${WORKER_COUNT_MAX}`);
  return value;
}

function shard(text: string): Shard {
  const [, index, of] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const part = { index: Number(index) - 1, count: Number(of) };
  if (index === undefined || part.index < 0 || part.index >= part.count) {
    throw new Error('expected a part and how many there are, like 1/4');
  }
  return part;
}

const JSON_OPTION: OptionDefinition = { flags: '--json', about: 'print one JSON document' };

export const COMMANDS: readonly CommandDefinition[] = [
  {
    name: 'demo',
    args: '[scenario]',
    about: 'show a bug of the catalogue, and that it is gone once fixed (default: kfd-unregister)',
    options: [],
    load: async () => (await import('./command/demo.ts')).demo,
  },
  {
    name: 'check',
    args: '[scenario|file...]',
    about: 'run every interleaving of a scenario, or of those in a TypeScript file',
    options: [
      { flags: '--variant <name>', about: 'only this variant' },
      { flags: '--all', about: 'every scenario of the catalogue' },
      { flags: '--bail', about: 'stop at the first violation' },
      JSON_OPTION,
      REPORTER_OPTION,
      { flags: '--watch', about: 'check again whenever the file or what it imports changes' },
      { flags: '--max-executions <n>', about: 'stop after n executions', parse: count },
      { flags: '--max-steps <n>', about: 'stop at an execution of n steps', parse: count },
      { flags: '--timeout <seconds>', about: 'stop after so many seconds', parse: seconds },
      {
        flags: '--preemptions <n>',
        about: 'only executions with at most n preemptions (0: none)',
        parse: wholeNumber,
      },
      {
        flags: '--shortest',
        about: 'search with 0, 1, 2, … preemptions, and stop where there is a violation',
      },
      {
        flags: '--bounds-first',
        about: `search with up to ${BOUNDS_FIRST_MAX} preemptions (or --preemptions), then the whole`,
      },
      {
        flags: '--coverage',
        about: 'list the lines of drivers, and of your file, that nothing ran',
      },
      {
        flags: '--sample <how>',
        about: `draw executions at random: ${SAMPLER_NAMES.join(', ')}`,
        parse: sampler,
      },
      {
        flags: '--samples <n>',
        about: `how many to draw (default: ${SAMPLE_COUNT_DEFAULT})`,
        parse: count,
      },
      { flags: '--seed <n>', about: 'draw others (default: 1)', parse: wholeNumber },
      {
        flags: '--depth <n>',
        about: `depth of the bugs that pct looks for (default: ${PCT_DEPTH_DEFAULT})`,
        parse: count,
      },
      { flags: '--workers <n>', about: 'explore in n threads (default: 1)', parse: workerCount },
      { flags: '--checkpoint <file>', about: 'save how far it is there, every few seconds' },
      { flags: '--resume <file>', about: 'go on with what a checkpoint has, and save it there' },
      {
        flags: '--shard <i/n>',
        about: "explore part i of n; 'merge' puts the parts' checkpoints together",
        parse: shard,
      },
      { flags: '--progress', about: 'tell how far it has come where stderr is no terminal, too' },
    ],
    load: async () => (await import('./command/check.ts')).check,
  },
  {
    name: 'replay',
    args: '<token> [file]',
    about: 'repeat the execution that a token stands for; file: where its scenario is defined',
    options: [
      { flags: '--inspect', about: 'under the Node debugger, with breakpoints in the driver file' },
      JSON_OPTION,
      REPORTER_OPTION,
    ],
    load: async () => (await import('./command/replay.ts')).replay,
  },
  {
    name: 'claim',
    args: '<file>',
    about: 'whether an interleaving that somebody claims can be; - reads it from standard input',
    options: [
      {
        flags: '--scenario <name>',
        about: 'in this scenario; without it, in all that have its steps',
      },
      { flags: '--variant <name>', about: 'only in this variant' },
      { flags: '--file <path>', about: 'in the scenarios of a TypeScript file' },
      JSON_OPTION,
      {
        flags: '--max-executions <n>',
        about: 'stop after n executions of a variant',
        parse: count,
      },
      { flags: '--timeout <seconds>', about: 'stop after so many seconds', parse: seconds },
      { flags: '--progress', about: 'tell how far it has come where stderr is no terminal, too' },
    ],
    load: async () => (await import('./command/claim.ts')).claim,
  },
  {
    name: 'merge',
    args: '<file...>',
    about: 'put the parts of a search together that --shard took apart',
    options: [JSON_OPTION],
    load: async () => (await import('./command/merge.ts')).merge,
  },
  {
    name: 'list',
    args: '',
    about: 'the scenarios of the catalogue and their variants',
    options: [JSON_OPTION],
    load: async () => (await import('./command/list.ts')).list,
  },
  {
    name: 'conform',
    args: '<path...>',
    about: 'play recordings of a real kernel (files or folders) against the mm, and compare',
    options: [JSON_OPTION],
    load: async () => (await import('./command/conform.ts')).conform,
  },
  {
    name: 'init',
    args: '<name>',
    about: 'write a driver of your own to start from, name.ts, and its test',
    options: [],
    load: async () => (await import('./command/init.ts')).init,
  },
];

export const EPILOGUE = `
${EXIT_CODE_TABLE}

Messages have codes (MN101); docs/errors.md explains each.
`;

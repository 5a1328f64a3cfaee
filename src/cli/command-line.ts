/** Parses the command line by the table of commands, and runs what it asks for. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { COMMANDS, EPILOGUE, type CommandDefinition, type OptionDefinition } from './commands.ts';
import { EXIT_OK, EXIT_USAGE } from './exit-code.ts';

const ABOUT =
  'The Linux mmu-notifier subsystem, the drivers that use it, and a checker that runs them under ' +
  'every interleaving.';

/** Runs `mmulab` with the given arguments and returns the exit code. */
export async function runCommandLine(argv: readonly string[], version: string): Promise<number> {
  let exitCode = EXIT_OK;
  const program = new Command('mmulab')
    .description(ABOUT)
    .version(version, '-V, --version')
    .showHelpAfterError('(mmulab --help shows what there is)')
    .exitOverride()
    .addHelpText('after', EPILOGUE);
  for (const definition of COMMANDS) {
    addCommand(program, definition, (code) => {
      exitCode = code;
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  }
  return exitCode;
}

function addCommand(
  program: Command,
  definition: CommandDefinition,
  onExitCode: (code: number) => void,
): void {
  const command = program
    .command(`${definition.name} ${definition.args}`.trim())
    .description(definition.about)
    .addHelpText('after', EPILOGUE)
    .allowExcessArguments(false)
    .action(async (...given: unknown[]) => {
      // Commander hands over each argument, then the options, then the command itself.
      const args = given
        .slice(0, -2)
        .flat()
        .filter((arg) => typeof arg === 'string');
      const options = command.opts<Record<string, unknown>>();
      const run = await definition.load();
      onExitCode(await run({ args, options }));
    });
  for (const option of definition.options) command.addOption(makeOption(option));
}

function makeOption(definition: OptionDefinition): Option {
  const option = new Option(definition.flags, definition.about);
  const { parse, isList } = definition;
  if (parse === undefined) return option;
  return option.argParser((text: string, before: unknown) => {
    try {
      const value = parse(text);
      return isList === true ? [...((before ?? []) as unknown[]), value] : value;
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  });
}

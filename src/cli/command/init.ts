/** `mmulab init`: writes a driver to start from, and its test. */
import { existsSync, writeFileSync } from 'node:fs';
import { UsageError } from '../../base/usage-error.ts';
import type { Invocation } from '../commands.ts';
import { EXIT_OK } from '../exit-code.ts';
import { writeResult } from '../output.ts';
import { template } from '../template.ts';

const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;
const NAME_LENGTH_MAX = 40;

export async function init({ args }: Invocation): Promise<number> {
  const [name = ''] = args;
  if (!NAME.test(name) || name.length > NAME_LENGTH_MAX) {
    throw new UsageError(
      'MN402',
      `'${name}' cannot be the name of a driver: expected small letters and digits, words joined by ` +
        `'-', like my-driver; at most ${NAME_LENGTH_MAX} of them`,
    );
  }
  const { driver, test } = template(name);
  const files = [
    [`${name}.ts`, driver],
    [`${name}.test.ts`, test],
  ] as const;
  for (const [path] of files) {
    if (existsSync(path)) {
      throw new UsageError('MN401', `'${path}' is there already, and nothing was written`);
    }
  }
  for (const [path, text] of files) writeFileSync(path, text, { flag: 'wx' });
  writeResult(
    [
      `wrote ${name}.ts and ${name}.test.ts`,
      '',
      `  npx mmulab check ./${name}.ts    every interleaving; one line in it says what to try`,
      `  npx vitest run ${name}.test.ts   the same, as a test`,
    ].join('\n'),
  );
  return EXIT_OK;
}

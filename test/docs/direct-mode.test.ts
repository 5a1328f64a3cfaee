/** The examples of docs/direct-mode.md and README.md do what they say. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as mmulab from '../../src/index.ts';

const examples = ['docs/direct-mode.md', 'README.md'].flatMap((name) => {
  const text = readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```[jt]s\n([^]*?)^```$/gm)].map((match) => match[1] as string);
});

/** The example as a function of the package and of what is to be told each value. */
function compile(example: string): (all: typeof mmulab, see: (value: unknown) => void) => void {
  const code = example
    .replaceAll(/^import (\{[^}]*\}) from 'mmulab';$/gm, 'const $1 = mmulab;')
    .replaceAll(/^(.*); \/\/ => .*$/gm, 'see($1);');
  // oxlint-disable-next-line typescript/no-implied-eval -- the documents are our own
  return new Function('mmulab', 'see', code) as ReturnType<typeof compile>;
}

test.each(examples.map((example, at) => [at + 1, example] as const))(
  'example %i',
  (_at, example) => {
    const expected = [...example.matchAll(/ \/\/ => (.*)$/gm)].map((match) => match[1]);
    const seen: unknown[] = [];
    compile(example)(mmulab, (value) => seen.push(value));
    expect(expected.length).toBeGreaterThan(0);
    expect(seen.map((value) => JSON.stringify(value))).toEqual(expected);
  },
);

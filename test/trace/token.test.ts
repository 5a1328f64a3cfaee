import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { TOKEN_BYTES_MAX } from '../../src/base/limits.ts';
import { UsageError } from '../../src/base/usage-error.ts';
import { decodeToken, encodeToken, type TokenContent } from '../../src/trace/token.ts';

const SMALL: TokenContent = {
  version: '0.1.0',
  scenario: 'kfd-unregister',
  variant: 'v5.3',
  schedule: { tasks: [0, 0, 0, 1, 1, 0, 2], outcomes: [0, 0, 3, 0, 0, 0, 1] },
};

/** The same with marks: of three tasks and seven steps. */
const MARKED: TokenContent = {
  ...SMALL,
  schedule: {
    ...SMALL.schedule,
    marks: { tasks: [1, 0xabcd, 0xffff], steps: [1, 2, 3, 4, 15, 6, 7] },
  },
};

const GOLDEN = encodeToken(MARKED);
const UNMARKED = encodeToken(SMALL);

const contents: fc.Arbitrary<TokenContent> = fc
  .tuple(
    fc.array(fc.tuple(fc.nat(30), fc.integer({ min: 1, max: 300 }), fc.nat(1023)), {
      maxLength: 60,
    }),
    fc.boolean(),
    fc.array(fc.nat(0xffff), { maxLength: 31 }),
  )
  .chain(([runs, isMarked, tasks]) =>
    fc.record({
      version: fc.string(),
      scenario: fc.string({ unit: 'binary' }).map((text) => text.replaceAll(/\p{Cc}/gu, '?')),
      variant: fc.string(),
      schedule: fc.constant({
        tasks: runs.flatMap(([task, length]) => Array.from({ length }, () => task)),
        outcomes: runs.flatMap(([, length, outcome]) =>
          Array.from({ length }, (_, at) => (at === length - 1 ? outcome : 0)),
        ),
        ...(isMarked
          ? {
              marks: {
                tasks,
                steps: runs.flatMap(([, length]) => Array.from({ length }, (_, at) => at % 16)),
              },
            }
          : {}),
      }),
    }),
  );

function errorOf(token: string): UsageError {
  try {
    decodeToken(token);
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error(`${token} was read`);
}

test('the format does not change unnoticed', () => {
  expect(GOLDEN).toMatchInlineSnapshot(
    `"mn2_BTAuMS4wDmtmZC11bnJlZ2lzdGVyBHY1LjMEQCEAAgMAAavN__8SNPZwAgMEAeXIAhA"`,
  );
  expect(decodeToken(GOLDEN)).toEqual(MARKED);
  expect(UNMARKED).toBe('mn1_BTAuMS4wDmtmZC11bnJlZ2lzdGVyBHY1LjMEQCEAAgIDBAHBQcv_');
  expect(decodeToken(UNMARKED)).toEqual(SMALL);
});

test('a schedule of hundreds of steps stays short enough to paste', () => {
  const tasks = Array.from({ length: 400 }, (_, at) => Math.floor(at / 8) % 3);
  const marks = { tasks: [1, 2, 3], steps: tasks.map((_, at) => at % 16) };
  const outcomes = tasks.map(() => 0);
  const token = encodeToken({ ...SMALL, schedule: { tasks, outcomes, marks } });
  expect(token.length).toBeLessThan(500);
});

test('any content is read back', () => {
  fc.assert(
    fc.property(contents, (content) => {
      const token = encodeToken(content);
      expect(decodeToken(token)).toEqual(content);
      expect(encodeToken(decodeToken(token))).toBe(token);
    }),
  );
});

test('a token needs no quotes in a shell and is no option', () => {
  fc.assert(fc.property(contents, (content) => /^mn[12]_[\w-]*$/.test(encodeToken(content))));
});

test('a token of another version is read, and says which', () => {
  expect(decodeToken(encodeToken({ ...MARKED, version: '0.0.9' })).version).toBe('0.0.9');
});

test('white space around a token is ignored', () => {
  expect(decodeToken(`  ${GOLDEN}\n`)).toEqual(MARKED);
});

test('every single wrong letter is noticed', () => {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  for (let at = 0; at < GOLDEN.length; at += 1) {
    for (const letter of letters) {
      if (letter === GOLDEN[at]) continue;
      const wrong = GOLDEN.slice(0, at) + letter + GOLDEN.slice(at + 1);
      expect(errorOf(wrong).code, wrong).toMatch(/^MN30[12]$/);
    }
  }
});

test('every missing end, missing letter and doubled letter is noticed', () => {
  for (let at = 0; at < GOLDEN.length; at += 1) {
    expect(errorOf(GOLDEN.slice(0, at)).code).toBe('MN301');
    expect(errorOf(GOLDEN.slice(0, at) + GOLDEN.slice(at + 1)).code).toBe('MN301');
    expect(errorOf(GOLDEN.slice(0, at + 1) + GOLDEN.slice(at)).code).toMatch(/^MN30[12]$/);
  }
});

test('neighbours that changed places are noticed', () => {
  for (let at = 4; at + 1 < GOLDEN.length; at += 1) {
    const [first, second] = [GOLDEN[at] as string, GOLDEN[at + 1] as string];
    if (first === second) continue;
    const wrong = GOLDEN.slice(0, at) + second + first + GOLDEN.slice(at + 2);
    expect(errorOf(wrong).code).toBe('MN301');
  }
});

test('any text at all is answered with an error that says what to try', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.base64String().map((text) => `mn1_${text}`),
        fc.base64String().map((text) => `mn2_${text}`),
      ),
      (text) => {
        const error = errorOf(text);
        expect(error.code).toMatch(/^MN30[12]$/);
        expect(error.message).toMatch(/Copy the whole word|get a new one/);
      },
    ),
  );
});

test('what is no token says how one begins', () => {
  expect(errorOf('kfd-unregister').message).toMatchInlineSnapshot(
    `"'kfd-unregister' is no token that can be replayed: a token begins with 'mn2_'. Copy the whole word that 'check' printed after 'replay'."`,
  );
});

test('a letter that does not belong is named with its place', () => {
  expect(errorOf(GOLDEN.replace('A', '=')).message).toMatchInlineSnapshot(
    `"'mn2_BT=uMS4wDmtmZC11b…' is no token that can be replayed: letter 7 is "="; only A-Z a-z 0-9 - _ occur in tokens. Copy the whole word that 'check' printed after 'replay'."`,
  );
});

test('a truncated token says so', () => {
  expect(errorOf(GOLDEN.slice(0, 40)).message).toMatchInlineSnapshot(
    `"'mn2_BTAuMS4wDmtmZC11b…' is no token that can be replayed: its checksum is wrong: letters are missing, added or changed. Copy the whole word that 'check' printed after 'replay'."`,
  );
});

test('a token of another format is named as one', () => {
  const error = errorOf(GOLDEN.replace('mn2_', 'mn7_'));
  expect(error.code).toBe('MN302');
  expect(error.message).toMatchInlineSnapshot(
    `"the token has format 7, this mmulab reads formats 1 and 2. Replay it with the version that printed it, or check the scenario again to get a new one."`,
  );
});

test('a name that could steer a terminal is refused', () => {
  const token = encodeToken({ ...SMALL, scenario: 'kfd\u001B[2J' });
  expect(errorOf(token).code).toBe('MN301');
});

test('a text beyond the limit is not read', () => {
  expect(errorOf(`mn1_${'A'.repeat(TOKEN_BYTES_MAX)}`).message).toMatchInlineSnapshot(
    `"'mn1_AAAAAAAAAAAAAAAAA…' is no token that can be replayed: it is 1048580 letters long, the limit is 1048576. Copy the whole word that 'check' printed after 'replay'."`,
  );
});

test('a few bytes that stand for very many steps are refused', () => {
  const long = { ...SMALL, schedule: { tasks: [0], outcomes: [0] } };
  expect(decodeToken(encodeToken(long)).schedule.tasks).toEqual([0]);
  const tasks = Array.from({ length: (1 << 20) + 1 }, () => 0);
  const token = encodeToken({ ...SMALL, schedule: { tasks, outcomes: [] } });
  expect(token.length).toBeLessThan(100);
  expect(errorOf(token).code).toBe('MN301');
});

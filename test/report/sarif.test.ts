import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import Ajv from 'ajv-draft-04';
import addFormats from 'ajv-formats';
import { expect, test } from 'vitest';
import { FINDING_KINDS } from '../../src/kernel/finding.ts';
import type { ReportInput } from '../../src/report/reporter.ts';
import { sarif } from '../../src/report/sarif.ts';
import { kindAbout } from '../../src/report/titles.ts';
import { NOTHING, sampleInput } from './sample-input.ts';

const { resolve } = createRequire(import.meta.url);
/** The schema that OASIS publishes, as Microsoft ships it. */
const schema = JSON.parse(
  readFileSync(resolve('@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json'), 'utf8'),
) as object;
const ajv = new Ajv.default({ strict: false, allErrors: true, unicodeRegExp: false });
addFormats.default(ajv);
const validate = ajv.compile(schema);

interface Log {
  readonly runs: readonly {
    readonly tool: { readonly driver: { readonly rules: readonly Rule[] } };
    readonly results: readonly SarifResult[];
    readonly invocations: readonly { readonly executionSuccessful: boolean }[];
  }[];
}

interface Rule {
  readonly id: string;
  readonly fullDescription: { readonly text: string };
  readonly help: { readonly text: string };
}

interface SarifResult {
  readonly ruleId: string;
  readonly level: string;
  readonly locations: readonly {
    readonly physicalLocation?: {
      readonly artifactLocation: { readonly uri: string };
      readonly region: { readonly startLine: number };
    };
  }[];
  readonly codeFlows?: readonly {
    readonly threadFlows: readonly {
      readonly id: string;
      readonly locations: readonly {
        readonly executionOrder: number;
        readonly state?: Readonly<Record<string, { readonly text: string }>>;
      }[];
    }[];
  }[];
}

function write(input: ReportInput): Log {
  const log = JSON.parse(sarif.write(input)[0] ?? '') as Log;
  validate(log);
  expect(validate.errors ?? []).toEqual([]);
  return log;
}

test('the log is valid by the schema of SARIF 2.1.0', () => {
  write(sampleInput());
  write(NOTHING);
});

test('the schema is asked in earnest', () => {
  const log = JSON.parse(sarif.write(sampleInput())[0] ?? '') as { runs: { results: object[] }[] };
  Object.assign(log.runs[0]?.results[0] ?? {}, { level: 'fatal' });
  expect(validate(log)).toBe(false);
});

test('each violation is a result: a note if it is expected, else an error', () => {
  const { results = [], tool } = write(sampleInput()).runs[0] ?? {};
  expect(results.map(({ ruleId, level }) => `${level} ${ruleId}`)).toEqual([
    'note use-after-free',
    'error data-race',
    'error leak',
    'note deadlock',
    'error use-after-free',
    'error verdict',
  ]);
  const rules = tool?.driver.rules.map(({ id }) => id) ?? [];
  for (const { ruleId } of results) expect(rules).toContain(ruleId);
});

test('the threads of a flow together are the interleaving, each step once and in order', () => {
  const [first] = write(sampleInput()).runs[0]?.results ?? [];
  const threads = first?.codeFlows?.[0]?.threadFlows ?? [];
  expect(threads.map(({ id }) => id)).toEqual(['open', 'munmap']);
  const orders = threads.flatMap(({ locations }) => locations.map((one) => one.executionOrder));
  expect(orders.toSorted((a, b) => a - b)).toEqual(orders.map((_, at) => at + 1));
  for (const { locations } of threads) {
    const own = locations.map((one) => one.executionOrder);
    expect(own).toEqual(own.toSorted((a, b) => a - b));
  }
  const states = threads.flatMap(({ locations }) => locations.map((one) => one.state));
  expect(states).toContainEqual({ toy_process: { text: 'freed' } });
});

test('a result is at a line, its path written as a URI', () => {
  const results = write(sampleInput()).runs[0]?.results ?? [];
  const places = results.map(({ locations }) => locations[0]?.physicalLocation);
  expect(places[0]?.artifactLocation.uri).toBe('sample.ts');
  expect(places[0]?.region.startLine).toBeGreaterThan(1);
  for (const place of places) expect(place?.artifactLocation.uri ?? '').not.toMatch(/[\s<>"`\\]/);
});

test('input that could not be checked is told of by the invocation', () => {
  expect(write(sampleInput()).runs[0]?.invocations[0]?.executionSuccessful).toBe(false);
  expect(write(NOTHING).runs[0]?.invocations[0]?.executionSuccessful).toBe(true);
});

test('a rule says what docs/findings.md says, and has the help that code scanning demands', () => {
  const findings = readFileSync(new URL('../../docs/findings.md', import.meta.url), 'utf8');
  for (const kind of FINDING_KINDS) expect(findings).toContain(kindAbout(kind));
  for (const { fullDescription, help } of write(sampleInput()).runs[0]?.tool.driver.rules ?? []) {
    expect(fullDescription.text).toMatch(/^[A-Z].*\.$/);
    expect(help.text).toMatch(/\.$/);
  }
});

import { expect, test } from 'vitest';
import { itf } from '../../src/report/itf.ts';
import { loadReader } from '../util/reader.ts';
import { sampleInput } from './sample-input.ts';

interface State {
  readonly '#meta': { readonly index: number };
  readonly step: { readonly '#bigint': string };
  readonly memory: { readonly '#map': readonly (readonly [string, string])[] };
  readonly held: { readonly '#map': readonly (readonly [string, { '#set': string[] }])[] };
  readonly findings: { readonly '#set': readonly string[] };
}

interface Trace {
  readonly '#meta': { readonly format: string; readonly varTypes: Record<string, string> };
  readonly vars: readonly string[];
  readonly states: readonly State[];
}

interface Expression {
  readonly kind: string;
  readonly opcode?: string;
  readonly args?: readonly Expression[];
  readonly value?: unknown;
}

const traces = itf.write(sampleInput()).map((text) => JSON.parse(text) as Trace);

test('each execution is a trace whose states have every variable', () => {
  expect(traces).toHaveLength(6);
  for (const { '#meta': meta, vars, states } of traces) {
    expect(meta.format).toBe('ITF');
    expect(Object.keys(meta.varTypes)).toEqual(vars);
    for (const [at, state] of states.entries()) {
      expect(Object.keys(state)).toEqual(['#meta', ...vars]);
      expect(state['#meta'].index).toBe(at);
    }
  }
});

function valueOf(state: State | undefined, path: string): string | undefined {
  return new Map(state?.memory['#map']).get(path);
}

test('a state is what is there after its step', () => {
  const { states } = traces[0] as Trace;
  expect(valueOf(states[0], 'toy_table.opens')).toBe('0');
  expect(valueOf(states[1], 'toy_table.opens')).toBe('1');
  expect(valueOf(states.at(-1), 'toy_process')).toBe('freed');
  expect(new Map(states[2]?.held['#map']).get('open')).toEqual({ '#set': ['toy_table.lock'] });
  expect(states.map(({ findings }) => findings['#set'].length)).toEqual([
    ...states.slice(1).map(() => 0),
    1,
  ]);
});

test('Quint reads the states as records, each variable of its type', (context) => {
  const { ofItfNormalized } = loadReader(context, '@informalsystems/quint/dist/src/itf.js') as {
    ofItfNormalized: (trace: unknown) => readonly Expression[];
  };
  for (const trace of traces) {
    const states = ofItfNormalized(trace);
    expect(states).toHaveLength(trace.states.length);
    for (const { kind, opcode, args = [] } of states) {
      expect([kind, opcode]).toEqual(['app', 'Rec']);
      const fields = new Map<unknown, string | undefined>();
      for (let at = 0; at < args.length; at += 2) {
        const value = args[at + 1];
        fields.set(args[at]?.value, value?.kind === 'app' ? value.opcode : value?.kind);
      }
      expect(Object.fromEntries(fields)).toEqual({
        step: 'int',
        task: 'str',
        function: 'str',
        operation: 'str',
        result: 'str',
        place: 'str',
        held: 'Map',
        memory: 'Map',
        findings: 'Set',
      });
    }
  }
});

/**
 * Draws what happens when a safeguard is missing: of the core, the execution that the checker finds in a copy of the
 * source from which the mutation table has taken it out; of a driver, what it finds in an example.
 */
import { checkVariant } from '../../src/check/check-variant.ts';
import { findScenario } from '../../src/catalogue/index.ts';
import { allDetectors } from '../../src/check/detector/index.ts';
import { programOf, type AnyScenario } from '../../src/check/scenario.ts';
import { diagram } from '../../src/report/diagram.ts';
import { findingOf } from '../../src/report/text.ts';
import { wrap } from '../../src/report/wrap.ts';
import { record } from '../../src/trace/record.ts';
import { Workshop } from '../mmu-notifier/mutant.ts';
import { MUTATIONS } from '../mmu-notifier/mutation-table.ts';
import { loadExample } from './load-example.ts';

/** Where they stand. */
const PARTS = [
  'src/check/check-variant.ts',
  'src/check/scenario.ts',
  'src/check/detector/index.ts',
  'src/trace/record.ts',
  'src/report/text.ts',
  'src/report/diagram.ts',
];
const WIDTH = 96;

let workshop: Workshop | null = null;

/** What draws, of one copy of the source. */
interface Tools {
  readonly checkVariant: typeof checkVariant;
  readonly programOf: typeof programOf;
  readonly allDetectors: typeof allDetectors;
  readonly record: typeof record;
  readonly findingOf: typeof findingOf;
  readonly diagram: typeof diagram;
}

const OWN: Tools = { checkVariant, programOf, allDetectors, record, findingOf, diagram };

interface Subject {
  readonly scenario: AnyScenario;
  readonly variant: string;
  readonly tools: Tools;
}

/**
 * The picture of the first violation, and what is wrong in it, as the text of a block. `name` is a mutation of the
 * table, an example and its variant, `examples/interval.ts careless`, or a scenario of the catalogue and its variant,
 * `scenario kfd-unregister v5.3`. `from`: leave out all rows before the last
 * one that has this text.
 */
export async function drawRace(name: string, from: string | null = null): Promise<string> {
  const { scenario, variant, tools } = await subjectOf(name);
  const [violation] = tools.checkVariant(scenario, variant, { bail: true }).violations;
  if (violation === undefined) throw new Error(`nothing is found: ${name}`);
  const program = tools.programOf(scenario, variant);
  const recording = tools.record(program, violation.schedule, tools.allDetectors());
  const finding = tools.findingOf(recording, violation);
  const picture = tools.diagram(recording, finding, { width: WIDTH, hasPlaces: false });
  const { message, explanation = '' } = finding;
  const text = [message, explanation].flatMap((one) => (one === '' ? [] : wrap(one, WIDTH, 2)));
  return [...tailOf(picture.split('\n'), from), '', ...text, ''].join('\n');
}

async function subjectOf(name: string): Promise<Subject> {
  if (name.startsWith('examples/')) return example(name);
  return name.startsWith('scenario ') ? shipped(name) : await mutant(name);
}

function shipped(name: string): Subject {
  const [, scenario = '', variant = ''] = name.split(' ');
  return { scenario: findScenario(scenario) as AnyScenario, variant, tools: OWN };
}

function example(name: string): Subject {
  const [path = '', variant = ''] = name.split(' ');
  return { scenario: loadExample(path)[0] as AnyScenario, variant, tools: OWN };
}

async function mutant(name: string): Promise<Subject> {
  const mutation = MUTATIONS.find((one) => one.name === name);
  if (mutation === undefined) throw new Error(`the table has no mutation '${name}'`);
  workshop ??= new Workshop();
  const copy = await workshop.load(mutation.edits);
  const parts = await Promise.all(PARTS.map(async (path) => copy.from(path)));
  const tools = Object.assign({}, ...parts) as Tools;
  const { variant = 'series' } = mutation;
  return { scenario: copy.find(mutation.scenario) as AnyScenario, variant, tools };
}

function tailOf(rows: readonly string[], from: string | null): readonly string[] {
  if (from === null) return rows;
  const at = rows.findLastIndex((row) => row.includes(from));
  if (at < 0) throw new Error(`no row of the picture has '${from}'`);
  const [titles = '', rules = ''] = rows;
  return [titles, rules, '     …', ...rows.slice(at)];
}

/** Takes the copies away. */
export function closeWorkshop(): void {
  workshop?.close();
  workshop = null;
}

/**
 * Copies of the source with one safeguard taken out. An edit is a text that is there exactly once, and what stands
 * in its place; nothing in the source knows of it.
 *
 * The copies are JavaScript, made by what loads users' scenarios. Node itself takes them from a folder named
 * `dist`, which the test runner leaves alone (see vitest.config.ts): each copy has modules of its own.
 */
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transform } from 'sucrase';
import type { checkVariant } from '../../src/check/check-variant.ts';
import type { Violation } from '../../src/check/result.ts';
import type { AnyScenario } from '../../src/check/scenario.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** What no scenario needs. */
const LEFT_OUT: ReadonlySet<string> = new Set(['cli', 'conform', 'index.ts']);
const SCENARIOS = 'test/mmu-notifier/mutation-scenario.ts';

/** One text of a file and what it becomes. */
export interface Edit {
  /** Below `src`. */
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** `to` in the place of `from`; nothing, if it is left out. */
export function edit(file: string, from: string, to = ''): Edit {
  return { file, from, to };
}

/** A safeguard to take out, the scenario that misses it, and what is found there. */
export interface Mutation {
  /** What is missing, as the end of a sentence. */
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Of the catalogue, or `own-…` of mutation-scenario.ts. */
  readonly scenario: string;
  /** `series` if left out. It is as expected by itself. */
  readonly variant?: string;
  /** One of the violations; null if what was expected is not found any more. */
  readonly finds: Partial<Pick<Violation, 'kind' | 'object' | 'invariant'>> | null;
}

/** What of a violation a mutation is known by; null if what was expected is not found any more. */
type Finds = Mutation['finds'];

/** The violation of an invariant, on a subscriber unless it is said to be another object. */
export function breaks(invariant: string, object: string = 'subscriber'): Finds {
  return { kind: 'invariant', object, invariant };
}

type Missing = Omit<Mutation, 'scenario' | 'variant'>;

/** What is missing, what is found then, and how to take it out. */
export function missing(name: string, finds: Finds, ...edits: readonly Edit[]): Missing {
  return { name, finds, edits };
}

/** Mutations that one variant of one scenario finds: `series`, if only the scenario is named. */
export function seenBy(
  where: string | Pick<Mutation, 'scenario' | 'variant'>,
  mutations: readonly Missing[],
): Mutation[] {
  const place = typeof where === 'string' ? { scenario: where } : where;
  return mutations.map((mutation) => ({ ...mutation, ...place }));
}

/** What is loaded from a copy. */
export interface Copy {
  readonly checkVariant: typeof checkVariant;
  /** A scenario of the catalogue, or else of the table. */
  find(name: string): AnyScenario | undefined;
  /** Loads any other module, by its path in the project. */
  from(path: string): Promise<unknown>;
}

interface CatalogueModule {
  findScenario(name: string): AnyScenario | null;
}

interface ScenariosModule {
  readonly SCENARIOS: readonly AnyScenario[];
}

/** The source as JavaScript, and copies of it that differ in one thing. */
export class Workshop {
  private readonly folder = mkdtempSync(join(tmpdir(), 'mmulab-mutants-'));
  private readonly files = new Map<string, string>();
  private copyCount = 0;

  constructor() {
    for (const path of readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })) {
      const isNeeded = !LEFT_OUT.has(path.split(sep)[0] as string);
      if (isNeeded && path.endsWith('.ts')) this.compile(join('src', path));
    }
    this.compile(SCENARIOS);
  }

  /** Loads a copy with these edits. Throws if one of them does not apply, or is ambiguous. */
  async load(edits: readonly Edit[]): Promise<Copy> {
    const from = this.copy(edits);
    const check = (await from('src/check/check-variant.ts')) as Pick<Copy, 'checkVariant'>;
    const catalogue = (await from('src/catalogue/index.ts')) as CatalogueModule;
    const own = (await from(SCENARIOS)) as ScenariosModule;
    return {
      checkVariant: check.checkVariant,
      from,
      find: (name) =>
        own.SCENARIOS.find((scenario) => scenario.name === name) ??
        catalogue.findScenario(name) ??
        undefined,
    };
  }

  /** Makes a copy with these edits, and returns what loads its modules, by their paths in the project. */
  copy(edits: readonly Edit[]): (path: string) => Promise<unknown> {
    this.copyCount += 1;
    const top = join(this.folder, 'dist', String(this.copyCount));
    for (const [path, original] of this.files) {
      const target = join(top, outputOf(path));
      mkdirSync(dirname(target), { recursive: true });
      const changed = edits.filter(({ file }) => join('src', file) === path);
      if (changed.length === 0) linkSync(original, target);
      else writeFileSync(target, toJavaScript(edited(path, changed)));
    }
    return async (path) => import(pathToFileURL(join(top, outputOf(path))).href);
  }

  /** Takes all copies away. */
  close(): void {
    rmSync(this.folder, { recursive: true });
  }

  private compile(path: string): void {
    const target = join(this.folder, 'original', outputOf(path));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, toJavaScript(readFileSync(join(ROOT, path), 'utf8')));
    this.files.set(path, target);
  }
}

function outputOf(path: string): string {
  return path.replace(/\.ts$/, '.mjs');
}

function toJavaScript(source: string): string {
  const { code } = transform(source, { transforms: ['typescript'], disableESTransforms: true });
  return code.replaceAll(/(from|import) '(\.[^']*)\.ts'/g, "$1 '$2.mjs'");
}

function edited(path: string, edits: readonly Edit[]): string {
  let source = readFileSync(join(ROOT, path), 'utf8');
  for (const { from, to } of edits) {
    const count = [...source.matchAll(patternOf(from))].length;
    if (count !== 1) {
      throw new Error(`a mutation no longer applies: ${path} has ${count} times\n${from}`);
    }
    source = source.replace(patternOf(from), () => to);
  }
  return source;
}

/** How lines are broken and indented is the formatter's affair. */
function patternOf(text: string): RegExp {
  const words = text.trim().split(/\s+/);
  return new RegExp(
    words.map((word) => word.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&')).join('\\s+'),
    'g',
  );
}

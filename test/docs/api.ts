/**
 * The API reference, made of the sources: for everything that src/index.ts exports, how it is used, what its
 * comment says, and where it stands. The compiler resolves the exports and the results; parameters are shown as
 * they are written.
 */
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  isClassDeclaration,
  isFunctionDeclaration,
  isFunctionExpression,
  isInterfaceDeclaration,
  isObjectLiteralExpression,
  isTypeAliasDeclaration,
  isVariableDeclaration,
  type Node,
} from 'typescript/unstable/ast';
import {
  API,
  NodeBuilderFlags,
  SignatureKind,
  SymbolFlags,
  type Checker,
  type Project,
  type Symbol as TsSymbol,
} from 'typescript/unstable/sync';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Part {
  readonly file: string;
  readonly title: string;
  readonly about: string;
  /** Folders below `src`. */
  readonly folders: readonly string[];
  /** Files that belong here although their folder does not. */
  readonly files?: readonly string[];
}

/** The pages. A file belongs to the first that names it, or else its folder. */
export const PARTS: readonly Part[] = [
  {
    file: 'kernel.md',
    title: 'The kernel',
    about:
      'Functions, structs and memory, shared data, locks and waiting, work, modules and files.',
    folders: ['base', 'kernel'],
  },
  {
    file: 'mm.md',
    title: 'The mm',
    about:
      'Machines, processes, mappings, pages. [The simulated mm](../mm.md) says what is modelled.',
    folders: ['mm-types', 'mm'],
    files: ['base/mman.ts', 'kernel/direct.ts'],
  },
  {
    file: 'notifiers.md',
    title: 'The notifiers',
    about:
      'What a driver calls, and what it is told. The protocols: [registration](../protocol/registration.md), ' +
      '[get and put](../protocol/get-put.md), [release and exit](../protocol/release-exit.md), ' +
      '[intervals](../protocol/interval.md).',
    folders: ['mmu-notifier'],
  },
  {
    file: 'devices.md',
    title: 'Devices',
    about:
      'Devices that translate by tables of their own. [Devices](../devices.md) shows how they are used.',
    folders: ['device'],
  },
  {
    file: 'drivers.md',
    title: 'The drivers',
    about: 'Drivers that use the notifiers, as they were and as they became.',
    folders: ['drivers'],
  },
  {
    file: 'check.md',
    title: 'Checking',
    about:
      'Scenarios, and what is found out about them. `mmulab/vitest` adds a matcher: ' +
      '`expect(scenario).toHoldInEveryInterleaving()`.',
    folders: ['check', 'catalogue'],
  },
  {
    file: 'report.md',
    title: 'Reports',
    about: 'Recordings of executions, and how they are shown.',
    folders: ['trace', 'report'],
  },
];

/** Classes that are for use from outside. */
const WITH_MEMBERS: ReadonlySet<string> = new Set(['Machine', 'Process', 'UsageError']);

/** One export. */
export interface Entry {
  readonly name: string;
  /** Below `src`. */
  readonly file: string;
  readonly kind: 'call' | 'constant' | 'type';
  /** How it is used or written. */
  readonly usage: string;
  readonly text: string;
  readonly kernelName: string | null;
  readonly members: readonly Member[];
}

interface Member {
  readonly usage: string;
  readonly text: string;
}

/** Everything that src/index.ts exports, in the order in which the compiler names it. */
export function exportedEntries(): Entry[] {
  const api = new API({ cwd: ROOT });
  try {
    const [project] = api.updateSnapshot({ openProject: `${ROOT}tsconfig.json` }).getProjects();
    return new Reader(project as Project).entries();
  } finally {
    api.close();
  }
}

class Reader {
  private readonly project: Project;
  private readonly checker: Checker;
  /** What the compiler calls the instances of a struct, and what everybody else does. */
  private readonly names: [string, string][] = [];

  constructor(project: Project) {
    this.project = project;
    this.checker = project.checker;
  }

  entries(): Entry[] {
    const index = this.project.program.getSourceFile(`${ROOT}src/index.ts`);
    const module = this.checker.getSymbolAtLocation(index as Node);
    const symbols = this.checker.getExportsOfModule(module as TsSymbol).map((symbol) => ({
      name: symbol.name,
      symbol:
        (symbol.flags & SymbolFlags.Alias) === 0 ? symbol : this.checker.getAliasedSymbol(symbol),
    }));
    for (const { name, symbol } of symbols) {
      if ((symbol.flags & SymbolFlags.TypeAlias) === 0) continue;
      const text = this.typeText(this.checker.getDeclaredTypeOfSymbol(symbol));
      if (text.startsWith('Instance<')) this.names.push([text, name]);
    }
    this.names.sort(([a], [b]) => b.length - a.length);
    return symbols.map(({ name, symbol }) => this.entry(name, symbol));
  }

  private entry(name: string, symbol: TsSymbol): Entry {
    const declarations = symbol.declarations.map((handle) => handle.resolve(this.project) as Node);
    const [node] = declarations as [Node];
    const tags = symbol.getJsDocTags(this.checker);
    const common = {
      name,
      file: relative(`${ROOT}src`, node.getSourceFile().fileName),
      text: this.textOf(symbol),
      kernelName: tags.find((tag) => tag.name === 'kernel')?.text?.trim() ?? null,
      members: [] as Member[],
    };
    if (isFunctionDeclaration(node))
      return { ...common, kind: 'call', usage: this.call(name, symbol, node) };
    if (isVariableDeclaration(node))
      return { ...common, ...this.variable(name, symbol, node, declarations) };
    return { ...common, ...this.type(name, node) };
  }

  /** A constant of the file: a kernel function, a struct, or just that. */
  private variable(name: string, symbol: TsSymbol, node: Node, declarations: readonly Node[]) {
    const type = this.checker.getTypeOfSymbol(symbol)!;
    if (this.checker.getSignaturesOfType(type, SignatureKind.Call).length > 0) {
      return { kind: 'call' as const, usage: this.call(name, symbol, functionIn(node)) };
    }
    const literal = find(node, isObjectLiteralExpression);
    const isStruct = declarations.some((one) => isTypeAliasDeclaration(one));
    if (isStruct && literal !== null) {
      return {
        kind: 'type' as const,
        usage: structNameOf(node, name),
        members: membersOf(literal),
      };
    }
    const text = this.typeText(type);
    const value = (node as Node & { initializer?: Node }).initializer?.getText() ?? '';
    const isValue = /^(?:-?\d+|".*")$/.test(text);
    const shown = isValue ? ` = ${text.replaceAll('"', "'")}` : ` = ${value}`;
    const usage = isValue || value.length <= 40 ? name + shown : `${name}: ${text}`;
    return { kind: 'constant' as const, usage };
  }

  private type(name: string, node: Node) {
    const kind = 'type' as const;
    if (isInterfaceDeclaration(node)) {
      return { kind, usage: headOf(node, `interface ${name}`), members: membersOf(node) };
    }
    if (isClassDeclaration(node)) {
      // What the kernel's own objects are made of is nobody's business.
      const members = WITH_MEMBERS.has(name) ? membersOf(node) : [];
      const said = members.filter(({ text }) => text !== '');
      return { kind, usage: headOf(node, `class ${name}`), members: said };
    }
    return {
      kind,
      usage: node
        .getText()
        .replace(/^(?:export|declare) /, '')
        .replace(/;$/, ''),
    };
  }

  /** How it is called: with `yield*` where it is something that the engine must get. */
  private call(name: string, symbol: TsSymbol, node: Node | null): string {
    const type = this.checker.getTypeOfSymbol(symbol)!;
    const [signature] = this.checker.getSignaturesOfType(type, SignatureKind.Call);
    const result = this.checker.getReturnTypeOfSignature(signature!)!;
    const outer = this.typeText(result);
    const kind = /^(?:(Operation|Call|Yieldable)|Body|Generator)\b/.exec(outer);
    const ofWhat = kind?.[1] === undefined ? 1 : 0;
    const inner =
      kind === null ? null : (this.checker.getTypeArguments(result as never)[ofWhat] ?? null);
    const isYielded = inner !== null;
    const returns = inner === null ? outer : this.typeText(inner);
    const { parameters = [], typeParameters = [] } = (node ?? {}) as {
      parameters?: readonly Node[];
      typeParameters?: readonly Node[];
    };
    const list = parameters.map((one) => oneLine(one.getText())).join(', ');
    const generic =
      typeParameters.length === 0
        ? ''
        : `<${typeParameters.map((one) => one.getText()).join(', ')}>`;
    const isReadable = returns.length <= 60 && !returns.includes('{');
    return `${isYielded ? 'yield* ' : ''}${name}${generic}(${list})${isReadable ? `: ${returns}` : ''}`;
  }

  private textOf(symbol: TsSymbol): string {
    const text = symbol.getDocumentationComment(this.checker).trim();
    const more = symbol.getJsDocTags(this.checker).flatMap(({ name, text: said = '' }) => {
      if (name === 'param') return [`\`${said.replace(/^(\S+)\s*/, '$1`: ')}`];
      if (name === 'throws') return [`Throws ${said}`];
      return name === 'returns' || name === 'return' ? [`Returns ${said}`] : [];
    });
    return [text, ...more]
      .filter((one) => one !== '')
      .join('\n\n')
      .replaceAll(/\{@link (\w+)\}/g, '`$1`');
  }

  private typeText(type: Parameters<Checker['typeToString']>[0]): string {
    const flags =
      NodeBuilderFlags.NoTruncation | NodeBuilderFlags.UseAliasDefinedOutsideCurrentScope;
    let text = this.checker.typeToString(type, undefined, flags);
    for (const [from, to] of this.names) text = text.replaceAll(from, to);
    return text;
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}

/** The first node below, or this one, that is of a kind. */
function find(node: Node, is: (node: Node) => boolean): Node | null {
  if (is(node)) return node;
  return node.forEachChild((child) => find(child, is) ?? undefined) ?? null;
}

function functionIn(node: Node): Node | null {
  return find(node, isFunctionExpression) ?? find(node, (one) => 'parameters' in one);
}

/** `struct mmu_notifier`. */
function structNameOf(node: Node, otherwise: string): string {
  return `struct ${/\bstruct\('(\w+)'/.exec(node.getText())?.[1] ?? otherwise}`;
}

/** The text before the brace. */
function headOf(node: Node, otherwise: string): string {
  const match = /^(?:export )?((?:abstract )?(?:class|interface) [^{]*?)\s*\{/.exec(node.getText());
  return match === null ? otherwise : oneLine(match[1] as string);
}

/** Fields and methods that others may use, each with what is said about it. */
function membersOf(node: Node): Member[] {
  const { members, properties } = node as Node & {
    members?: readonly Node[];
    properties?: readonly Node[];
  };
  return (members ?? properties ?? []).flatMap((member) => {
    const whole = oneLine(member.getText());
    if (/^(?:private|protected|override|constructor|#|static)\b/.test(whole)) return [];
    const body = (member as Node & { body?: Node }).body;
    const head =
      body === undefined
        ? whole
        : oneLine(member.getText().slice(0, body.getStart() - member.getStart()));
    return [
      { usage: head.replace(/[;,]?\s*$/, '').replace(/^readonly /, ''), text: commentOf(member) },
    ];
  });
}

function commentOf(node: Node): string {
  const text = node.getSourceFile().text.slice(node.getFullStart(), node.getStart());
  const comments = [...text.matchAll(/\/\*\*([^]*?)\*\//g)];
  const last = comments.at(-1)?.[1] ?? '';
  const lines = last.split('\n').map((line) => line.replace(/^\s*\*? ?/, ''));
  return lines
    .join('\n')
    .trim()
    .replaceAll(/\{@link (\w+)\}/g, '`$1`')
    .replaceAll(/^@\w+.*$/gm, '')
    .trim();
}

/** The part that an entry belongs to. */
export function partOf({ file }: Entry): Part {
  const part =
    PARTS.find(({ files = [] }) => files.includes(file)) ??
    PARTS.find(({ folders }) => folders.includes(file.split('/')[0] as string));
  if (part === undefined) throw new Error(`no page of the reference takes ${file}`);
  return part;
}

/** One page. */
export function pageOf(part: Part, entries: readonly Entry[]): string {
  const own = entries.filter((entry) => partOf(entry) === part);
  const files = [...new Set(own.map(({ file }) => file))];
  const lines = [
    `# ${part.title}`,
    '',
    '<!-- Made of the comments in the sources by `npm run docs`; change it there. -->',
    '',
    part.about,
    '',
  ];
  if (own.length > 0) {
    lines.push(
      '`yield*` stands before what a task hands to the engine; the rest are plain functions.',
      '',
    );
  } else lines.push('The package exports none of it; commands and scenarios use it.', '');
  for (const file of files)
    lines.push(
      ...sectionOf(
        file,
        own.filter((entry) => entry.file === file),
      ),
    );
  return `${lines
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trimEnd()}\n`;
}

function sectionOf(file: string, entries: readonly Entry[]): string[] {
  const lines = [
    `## ${file.replace(/\.ts$/, '')}`,
    '',
    `Source: [src/${file}](../../src/${file})`,
    '',
  ];
  const constants = entries.filter(({ kind }) => kind === 'constant');
  for (const { usage, text } of constants) {
    lines.push(`- \`${usage}\`${text === '' ? '' : `: ${oneLine(text)}`}`);
  }
  for (const entry of entries) {
    if (entry.kind === 'constant') continue;
    const { name, usage, text, kernelName, members } = entry;
    lines.push('', `### ${name}`, '', '```text', usage, '```', '', text, '');
    if (kernelName !== null) lines.push(`In the kernel: \`${kernelName}\`.`, '');
    for (const member of members) {
      lines.push(`- \`${member.usage}\`${member.text === '' ? '' : `: ${oneLine(member.text)}`}`);
    }
  }
  lines.push('');
  return lines;
}

/**
 * The words of a step: which names, paths, places and findings it mentions, and in what role. What they
 * stand for in a scenario is found out in meaning.ts.
 *
 * English words are passed over. Words with an underscore, with brackets behind them, or that some
 * scenario knows as a name are taken to be meant.
 */
import { kernelName } from '../kernel/call.ts';
import { outcomeIn, type Outcome } from './outcome.ts';

/** What is said of a name: that the step is there, is called, has returned; or that it is around it. */
export type Role = 'at' | 'enter' | 'return' | 'within';

/** What is done with an object, where a verb says it. */
export type Verb = 'read' | 'write' | 'free' | 'allocate' | 'lock' | 'unlock' | 'unlink';

export interface Mention {
  /** `text`: an operation as pictures show it, word for word; `name` is {@link squeezed}. */
  readonly kind: 'name' | 'path' | 'place' | 'finding' | 'verb' | 'text';
  /** As in the claim. */
  readonly text: string;
  /** The last identifier of a name, `a.b.c` of a path, `file.ts:12`, the kind of a finding. */
  readonly name: string;
  /** What stands in the brackets; null without brackets. Of a finding, a text that ends with its object. */
  readonly args: string | null;
  readonly role: Role;
  readonly verb: Verb | null;
  /** What it is said to give; null for nothing. */
  readonly outcome: Outcome | null;
  /** True if it must mean something: then it is no English word. */
  readonly isSure: boolean;
}

const VERBS: readonly (readonly [Verb, RegExp])[] = [
  ['free', /^(?:frees?|freed|freeing)$/],
  ['allocate', /^(?:allocates?|allocated|allocating)$/],
  ['unlock', /^(?:unlocks?|unlocked|releases)$/],
  ['lock', /^(?:locks?|locked|takes?|acquires?|acquired)$/],
  ['unlink', /^(?:unlinks?|unlinked|unhashes)$/],
  ['read', /^(?:reads?|reading|loads?|sees|dereferences?|touches|touch)$/],
  ['write', /^(?:writes?|writing|stores?|sets)$/],
];

const FINDINGS: readonly (readonly [string, RegExp])[] = [
  ['use-after-free', /\buse[- ]after[- ]free\b|\bUAF\b/i],
  ['double-free', /\bdouble[- ]free\b/i],
  ['null-dereference', /\bNULL[- ](?:pointer[- ])?deref\w*\b/i],
  ['err-ptr-dereference', /\bERR_PTR[- ]deref\w*\b/i],
  ['data-race', /\bdata[- ]race\b(?!\()/i],
  ['irq-inversion', /\bpossible deadlock with an interrupt\b/i],
  ['lock-order', /\bpossible deadlock\b/i],
  ['deadlock', /\bdead-?lock\w*\b/i],
  ['livelock', /\blive-?lock\w*\b/i],
  ['sleeping-in-atomic', /\bsleeping function\b|\bscheduling while atomic\b/i],
  ['refcount', /\bmisuse of a reference counter\b|\brefcount underflow\b/i],
  ['lock-misuse', /\bmisuse of a lock\b/i],
  ['unloaded-code', /\bunloaded code\b/i],
  ['invariant', /\bbroken invariant\b/i],
  ['leak', /\bleak(?:s|ed)?\b/i],
  ['bug', /\bBUG(?:_ON)?\b(?!: (?:use|double|null|sleep))/],
  ['warn', /\bWARN(?:_ON)?\b|<-- WARNING\b/],
  ['*', /\b(?:oops(?:es)?|crash(?:es)?|boom|kaboom)\b/i],
];

/** Bare words that are English far more often than names. */
const ENGLISH = new Set(
  (
    'open exit get put release load store close fork run remove insert use read write register ' +
    'unregister fault exclude free walk drop start end begin wait lock unlock map unmap init use0 a b'
  ).split(' '),
);

const LOCK = /^(?:mutex|spin|down|read|write|rcu_read|srcu_read)_(?:lock|read|write)(?:_\w+)?$/;

/** Bare words that are never names: messages of operations have them, and so the index of words. */
const NEVER_NAMES = new Set(
  (
    'the a an it its this that these those he she they them his her their which who what where when while ' +
    'of to from by on at with for into onto as if but or not no so than then now again still already ' +
    'is are was were be been being has have had can could may might will would must shall should ' +
    'one two first second last old new same other another both all some any each every only also too'
  ).split(' '),
);

/** Before the name of a system call whose entry is meant, not the function. */
export const SYSCALL = 'syscall ';

const PLACE = /^(?:[\w.-]+\/)*[\w-]+(?:\.[\w-]+)*\.(?:[cm]?[tj]s|c|h|S|rs):\d+/;
const CHAIN = /^&?\*?[A-Za-z_]\w*(?:\[[^\][]*\])?(?:(?:->|\.)[A-Za-z_]\w*(?:\[[^\][]*\])?)*/;

/** What is done to something: `atomic_inc ms_refcnt`, `kfree gms->ms_notifier`. */
const OPERATION =
  /^(?:(?:atomic|refcount|kref|mutex|spin|read|write|down|up|hlist|list|rcu)_\w+|kfree|READ_ONCE|WRITE_ONCE)$/;
const BARE_ARGUMENT = /^\s+(&?\w+(?:(?:->|\.)\w+)+|&?[A-Za-z]\w*_\w+)(?![\w(])/;

/** What is known of the words in a scenario. */
export interface Words {
  /** Whether a bare word is a name. */
  isName(word: string): boolean;
  /** Whether a text is an operation, as pictures show it. */
  isOperation(text: string): boolean;
}

/** An operation without its spaces: lines may have been broken anywhere. */
export function squeezed(text: string): string {
  return text.replaceAll(/\s+/g, '');
}

/** What a step mentions, in the order of its words. */
export function mentionsOf(text: string, words: Words): Mention[] {
  const row = takenApart(text);
  if (words.isOperation(row.said)) return mentionsOfOperation(row, row.said);
  return new Scanner(row.bare, (word) => words.isName(word)).scan();
}

/** What a row of a picture mentions: an operation, with its callers before it, and a mark. */
export function mentionsOfRow(text: string, words: Words): Mention[] {
  const row = takenApart(text);
  // A step of plain code that touches nothing others see.
  if (row.said === 'goes on') return mentionsOfOperation(row, '');
  const parts = [row.said];
  for (const { index } of row.said.matchAll(/\): /g)) parts.push(row.said.slice(index + 3));
  const known = parts.find((part) => words.isOperation(part));
  // It may be one that the survey has not come to.
  const guess = parts.findLast((part) => /^\w+\(.*\)$/.test(part)) ?? row.said;
  // Pictures say what the object is.
  const args = squeezed(row.mark);
  return mentionsOfOperation(row, known ?? guess).map((one) =>
    one.kind === 'finding' ? Object.assign({}, one, { args }) : one,
  );
}

/** What is said of a step, with what it gives. */
export function saidOf({ text, outcome }: Mention): string {
  if (outcome === null) return text;
  const { said } = outcome;
  return /^\w/.test(said) ? `${text} (${said})` : `${text} ${said}`;
}

interface TakenApart {
  readonly bare: string;
  readonly said: string;
  readonly result: string | null;
  readonly mark: string;
}

function takenApart(text: string): TakenApart {
  const bare = withoutComments(text).trim();
  const mark = /\s*<-- .*$/.exec(bare)?.[0] ?? '';
  const [said = '', result = null] = bare.slice(0, bare.length - mark.length).split(/\s+→\s+/);
  return { bare, said, result, mark };
}

function mentionsOfOperation({ result, mark }: TakenApart, said: string): Mention[] {
  // Addresses are the model's own; what a narrow column has broken may be one.
  const isValue = result !== null && !/^(?:0x|&|\S+@0x)|\s/.test(result);
  const whole: Mention = {
    kind: 'text',
    text: said,
    name: squeezed(said),
    args: null,
    role: 'at',
    verb: null,
    outcome: isValue ? { relation: '==', value: result, said: `→ ${result}` } : null,
    isSure: true,
  };
  const marked = new Scanner(mark, () => false).scan().filter(({ kind }) => kind === 'finding');
  return said === '' ? marked : [whole, ...marked];
}

function withoutComments(text: string): string {
  return text
    .replaceAll(/\/\*.{0,1000}?\*\//g, ' ')
    .replace(/<-- (?:allocated|freed|of the leaked [\w ]+)/, '')
    .replaceAll(/["'`’“”]/g, (quote) => (quote === '"' ? quote : ' '));
}

class Scanner {
  private readonly text: string;
  private readonly isKnown: (word: string) => boolean;
  private readonly found: Mention[] = [];
  private at = 0;
  private verb: Verb | null = null;
  private role: Role = 'at';
  /** After `without`, up to the end of what is said of it. */
  private isDenied = false;

  constructor(text: string, isKnown: (word: string) => boolean) {
    this.text = text;
    this.isKnown = isKnown;
  }

  scan(): Mention[] {
    const ends = this.findings();
    while (this.at < this.text.length) {
      const end = ends.get(this.at);
      if (end !== undefined) {
        this.at = end;
        continue;
      }
      const rest = this.text.slice(this.at, this.at + 1000);
      const place = PLACE.exec(rest)?.[0];
      if (place !== undefined) this.place(place);
      else this.chain(CHAIN.exec(rest)?.[0] ?? null);
    }
    // A verb that has found no object is the step itself: "T2 frees the node".
    const isAlone = this.found.every(({ role, kind }) => role === 'within' || kind === 'finding');
    if (this.verb !== null && isAlone) this.add({ kind: 'verb', text: this.verb, name: this.verb });
    return this.found.toSorted(
      (a, b) => Number(a.kind === 'finding') - Number(b.kind === 'finding'),
    );
  }

  /** Notes the findings, and returns where their words begin and end. */
  private findings(): Map<number, number> {
    const ends = new Map<number, number>();
    const text = this.text.replace(/^\s*BUG: |<-- |WARNING: /, (found) => ' '.repeat(found.length));
    for (const [name, pattern] of FINDINGS) {
      const match = pattern.exec(text);
      if (match === null || this.found.some((mention) => mention.kind === 'finding')) continue;
      // `BUG_ON(condition)` says no more than that.
      const of = /^(?:\(.{0,200}\)| of [\w.]+|: [\w.]+)/.exec(
        this.text.slice(match.index + match[0].length),
      );
      ends.set(match.index, match.index + match[0].length + (of?.[0].length ?? 0));
      this.add({ kind: 'finding', text: match[0], name });
    }
    return ends;
  }

  private place(text: string): void {
    this.at += text.length;
    this.add({ kind: 'place', text, name: text });
  }

  private chain(chain: string | null): void {
    if (chain === null) {
      // Commas and full stops end what a verb is about.
      if (/[.,:;]/.test(this.text[this.at] as string)) {
        this.role = 'at';
        this.isDenied = false;
      }
      this.at += 1;
      return;
    }
    const from = this.at;
    this.at += chain.length;
    const args = this.args(chain);
    const word = chain.replace(/^&?\*?/, '');
    if (args === null && this.isGrammar(word)) return;
    const isPath = /->|\./.test(word);
    const last = word.split(/->|\./).at(-1) as string;
    const name = /[a-z][A-Z]/.test(last) ? kernelName(last) : last;
    const isName = args !== null || (!isPath && this.isMeant(word, name));
    if (!isName && !isPath && !(this.verb !== null && word.includes('_'))) return;
    // What is said not to be done is no step; nor is a lock that something is done under.
    if (this.isDenied || (this.role === 'within' && LOCK.test(name))) {
      this.role = 'at';
      return;
    }
    const isSyscall = /\bsyscall $/.test(this.text.slice(0, from));
    const shown = (isSyscall ? SYSCALL : '') + this.text.slice(from, this.at);
    const after = this.text.slice(this.at, this.at + 200);
    const role = this.roleAfter(after) ?? this.role;
    const said = outcomeIn(after);
    this.at += said?.length ?? 0;
    this.add({
      kind: isName ? 'name' : 'path',
      text: shown,
      name: isName ? name : word.replaceAll('->', '.'),
      args,
      role,
      outcome: said?.outcome ?? null,
      // "frees kfd_process: kfree(p)" says one thing twice.
      isSure: isName && (args !== null || (word.includes('_') && this.verb === null)),
    });
    this.role = 'at';
    if (role !== 'within') this.verb = null;
  }

  /** What stands in the brackets that follow, or without brackets after an operation; it is passed over. */
  private args(chain: string): string | null {
    if (this.text[this.at] !== '(') return OPERATION.test(chain) ? this.bareArgument() : null;
    let depth = 0;
    for (let end = this.at; end < this.text.length; end += 1) {
      if (this.text[end] === '(') depth += 1;
      else if (this.text[end] === ')') depth -= 1;
      if (depth > 0) continue;
      const args = this.text.slice(this.at + 1, end);
      this.at = end + 1;
      return args;
    }
    const args = this.text.slice(this.at + 1);
    this.at = this.text.length;
    return args;
  }

  private bareArgument(): string | null {
    const match = BARE_ARGUMENT.exec(this.text.slice(this.at, this.at + 200));
    if (match === null) return null;
    this.at += match[0].length;
    return match[1] as string;
  }

  /** Words that say what is done, or where, or in what role comes next. */
  private isGrammar(word: string): boolean {
    const lower = word.toLowerCase();
    const isSole = this.text.trim() === word;
    if (isSole) return false;
    const verb = VERBS.find(([, pattern]) => pattern.test(lower));
    if (verb !== undefined) {
      this.verb = verb[0];
      return true;
    }
    if (/^(?:without|never|not|doesn|misses|missing|forgets)$/.test(lower)) this.isDenied = true;
    else if (/^(?:in|inside|within|under|during|via)$/.test(lower)) this.role = 'within';
    else if (/^(?:enters?|entering|entered)$/.test(lower)) this.role = 'enter';
    else if (/^(?:leaves?|left|returns?|returned|returning)$/.test(lower)) this.role = 'return';
    else if (/^(?:calls?|runs?|does|and|then|while|before|after)$/.test(lower)) this.role = 'at';
    else return false;
    return true;
  }

  private roleAfter(after: string): Role | null {
    if (
      /^\s*(?:has )?(?:returns?\b|returned|is done|has ended|finishe[sd]|completes?)/.test(after)
    ) {
      return 'return';
    }
    if (/^\s*(?:is called|is entered|waits|blocks|is blocked|is waiting|spins)/.test(after)) {
      return 'enter';
    }
    return null;
  }

  private isMeant(word: string, name: string): boolean {
    if (this.text.trim().replace(/[;,.]$/, '') === word) return true;
    if (word.includes('_')) return /[a-zA-Z]/.test(word);
    if (NEVER_NAMES.has(word.toLowerCase())) return false;
    if (ENGLISH.has(word.toLowerCase())) return this.role !== 'at' && this.isKnown(name);
    return this.isKnown(name);
  }

  private add(mention: Partial<Mention> & Pick<Mention, 'kind' | 'text' | 'name'>): void {
    this.found.push({
      args: null,
      role: this.role,
      verb: this.verb,
      outcome: null,
      isSure: true,
      ...mention,
    });
  }
}

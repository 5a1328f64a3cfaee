/**
 * What the words of a step stand for: which events fit, and how well.
 *
 * A name may be spelt as it is, without its leading underscores, with its end only
 * (`unregister_no_release`), or as later kernels call it. Objects are compared by their last fields,
 * since the writer's variables (`p->mutex`) are not the model's (`kfd_process.mutex`). The events that
 * fit best are what is meant; where those are of different kinds, the step has several readings.
 */
import { unreachable } from '../base/assert.ts';
import type { Finding } from '../kernel/finding.ts';
import type { EventSort, EventTable } from './event-log.ts';
import { nameOfOperation } from './event-log.ts';
import { isOutcome } from './outcome.ts';
import { squeezed, SYSCALL, type Mention, type Verb } from './phrase.ts';

/** One step of a claim. */
export interface ClaimStep {
  /** The line of the claim's text, from 1. */
  readonly line: number;
  readonly row: number;
  readonly label: string | null;
  readonly mention: Mention;
  /** Functions that it must be in. */
  readonly within: readonly Mention[];
}

/** One way in which a step can be taken. */
export interface Reading {
  /** `kfree(kfd_process)`, `kfd_open()`, `kfd_open() returns`. */
  readonly text: string;
  readonly score: number;
}

const NONE = Infinity;
/** Beyond this two spellings have nothing to do with each other. */
const ARGS_DIFFER = 3;

/** Names of later kernels, and what they are called here. */
const LATER_NAMES: Readonly<Record<string, string>> = {
  mmap_write_lock: 'down_write',
  mmap_write_lock_killable: 'down_write_killable',
  mmap_write_unlock: 'up_write',
  mmap_write_downgrade: 'downgrade_write',
  mmap_read_lock: 'down_read',
  mmap_read_unlock: 'up_read',
  mmu_notifier_subscriptions_destroy: 'mmu_notifier_mm_destroy',
};
const LATER_FIELDS: Readonly<Record<string, string>> = {
  mmap_lock: 'mmap_sem',
  notifier_subscriptions: 'mmu_notifier_mm',
  subscriptions: 'mmu_notifier_mm',
};

const OPERATIONS_OF: Readonly<Record<Verb, RegExp>> = {
  free: /^(?:kfree|kfree_rcu|__free_page|free_pages?|kmem_cache_free)$/,
  allocate: /^(?:k[mz]alloc|kcalloc|alloc_pages?)$/,
  lock: /^(?:mutex_(?:try)?lock|spin_lock|down_(?:read|write)|read_lock|write_lock)(?:_\w+)?$/,
  unlock: /^(?:mutex_unlock|spin_unlock|up_(?:read|write)|read_unlock|write_unlock)(?:_\w+)?$/,
  unlink: /^(?:hlist_del|list_del|rb_erase|interval_tree_remove)\w*$/,
  read: /^(?:READ_ONCE|rcu_dereference|atomic_read|refcount_read|smp_load_acquire|data_race|hlist_empty|hlist_unhashed\w*)$/,
  write: /^(?:WRITE_ONCE|atomic_set|smp_store_release|rcu_assign_pointer|data_race)$/,
};

/** Scores that differ by no more are as good as each other where scenarios are compared. */
const ABOUT = 2;

/** How well a spelling fits a name that ends with it. */
export const NAME_ENDS = 2;
const NAME_WEIGHT = 10;
/** From this score on a name fits only by its end or its beginning. */
export const LOOSE_FIT = NAME_ENDS * NAME_WEIGHT;

/**
 * The score up to which events fit, if in some scenario one fits so well.
 *
 * @param isElsewhere whether the field that is spoken of is known, by operations of the same kind: `mm_users`
 * is not `mm_count` under another name.
 */
export function scoreLimit(best: number, isElsewhere: boolean): number {
  if (!isElsewhere) return best + ABOUT;
  const ofName = best - (best % NAME_WEIGHT);
  return Math.min(best + ABOUT, ofName + ARGS_DIFFER - 0.1);
}

/** Whether an operation of the same kind is done to the field that the step speaks of: `&mm->mm_users`. */
export function isOnSameField({ mention }: ClaimStep, sort: EventSort): boolean {
  if (mention.kind !== 'name' || mention.args === null || !isStep(sort)) return false;
  const [first = ''] = splitArguments(mention.args);
  const kind = kindOfOperation(mention.name);
  if (!first.includes('.') || kind === null || kind !== kindOfOperation(sort.name)) return false;
  return touches(sort, fieldsOf(first).at(-1) as string);
}

/** `atomic` of `atomic_read`; what pointers are given to is of no kind. */
function kindOfOperation(name: string): string | null {
  const match = /^(atomic|refcount|kref|mutex|spin|down|up|READ_ONCE|WRITE_ONCE)/.exec(name)?.[0];
  return match === undefined ? null : (SAME_KIND[match] ?? match);
}

const SAME_KIND: Readonly<Record<string, string>> = {
  refcount: 'atomic',
  kref: 'atomic',
  up: 'down',
  WRITE_ONCE: 'READ_ONCE',
};

/** How well an event fits a step; smaller is better, Infinity is not at all. */
export function scoreOf({ mention, within }: ClaimStep, sort: EventSort): number {
  for (const around of within) {
    if (!sort.stack.some((name) => nameScore(around.name, name) < NONE)) return NONE;
  }
  switch (mention.kind) {
    case 'finding':
      return sort.kind === 'finding' && isFinding(mention, sort.name, objectIn(sort)) ? 0 : NONE;
    case 'place':
      return placeScore(mention, sort);
    case 'text':
      // Plain code that others can see is a step, too: its access.
      return (isStep(sort) || sort.kind === 'access') && squeezed(sort.text) === mention.name
        ? 0
        : NONE;
    case 'verb':
      return isStep(sort) && verbFits(mention.verb, sort) ? 20 : NONE;
    case 'path':
      return pathMentionScore(mention, sort);
    case 'name':
      return Math.min(nameMentionScore(mention, sort), lockScore(mention, sort));
    default:
      return unreachable(mention.kind);
  }
}

/** Whether the step speaks of such a finding: one that is only seen when all is over. */
export function fitsEnd({ mention }: ClaimStep): ((finding: Finding) => boolean) | null {
  if (mention.kind !== 'finding') return null;
  return ({ kind, object }) => isFinding(mention, kind, object);
}

/** The object of `use-after-free of kfd_process`. */
function objectIn({ name, text }: EventSort): string {
  return text.slice(name.length + ' of '.length);
}

function isFinding({ name, args }: Mention, kind: string, object: string): boolean {
  if (args !== null) return name === kind && args.endsWith(squeezed(object));
  return name === '*' || name === kind || (name === 'bug' && kind === 'warn');
}

function isStep({ kind }: EventSort): boolean {
  return kind === 'operation' || kind === 'wait';
}

function placeScore({ name }: Mention, sort: EventSort): number {
  const { place, kind } = sort;
  if (place === null || (place !== name && !place.endsWith(`/${name}`))) return NONE;
  if (kind === 'access') return 0.5;
  return kind === 'operation' || kind === 'wait' || kind === 'begin' ? 0 : NONE;
}

// ---- names ----------------------------------------------------------------------------------------

function nameMentionScore(mention: Mention, sort: EventSort): number {
  const { role, outcome } = mention;
  if (mention.text.startsWith(SYSCALL) && !sort.text.startsWith(SYSCALL)) return NONE;
  const score = nameScore(mention.name, sort.name) * NAME_WEIGHT;
  if (score === NONE) return NONE;
  switch (sort.kind) {
    case 'enter':
      return role === 'enter' ? score : NONE;
    case 'begin':
      // With what it returns, the return is meant.
      if (role !== 'at' || outcome !== null) return NONE;
      // What stands in the brackets cannot be compared: an operation that it fits is meant rather.
      return score + ((mention.args ?? '').trim() === '' ? 0 : ARGS_DIFFER);
    case 'return': {
      if (outcome === null) return role === 'return' ? score : NONE;
      const shown = sort.text.slice(`${sort.name}() returns `.length);
      return shown !== '' && isOutcome(outcome, shown) && (role === 'at' || role === 'return')
        ? score
        : NONE;
    }
    case 'operation':
    case 'wait': {
      if (role === 'enter' && sort.kind === 'operation') return NONE;
      const isSyscall = sort.text.startsWith(SYSCALL);
      const isPart = sort.text.endsWith(': ends') || sort.text.endsWith(' starts');
      return score + argsScore(mention.args, sort.text) + (isSyscall || isPart ? 0.5 : 0);
    }
    default:
      return NONE;
  }
}

/** `lock(A)` and `unlock(A)`, as lockdep writes them; and a verb with a single name: `frees mn`. */
function lockScore({ name, args, verb, kind, text }: Mention, sort: EventSort): number {
  if (!isStep(sort) || kind !== 'name') return NONE;
  if ((name === 'lock' || name === 'unlock') && args !== null) {
    if (!OPERATIONS_OF[name].test(sort.name)) return NONE;
    const score = argsScore(args, sort.text);
    return score < ARGS_DIFFER ? score : 10 + score;
  }
  if (verb === null || args !== null || !verbFits(verb, sort)) return NONE;
  // "frees the page": its operation says no more of it than its number.
  const isInName = sort.name.endsWith(`_${text}`);
  return Math.min(objectScore(text, sort), isInName ? 1 : NONE) + 5;
}

/** How well a spelling fits a name: 0 if they are equal. */
export function nameScore(wanted: string, name: string): number {
  if (wanted === name) return 0;
  const later = Object.hasOwn(LATER_NAMES, wanted) ? LATER_NAMES[wanted] : undefined;
  if (later === name) return 0;
  const [a, b] = [bare(wanted), bare(name)];
  if (a === b) return 1;
  if (b.startsWith(`${a}_`) && VARIANT.test(b.slice(a.length + 1))) return 1;
  if (a.length >= 4 && b.endsWith(`_${a}`)) return NAME_ENDS;
  return a.length >= 8 && a.includes('_') && b.startsWith(`${a}_`) ? 3 : NONE;
}

const VARIANT = /^(?:killable|interruptible|nested|irqsave|irqrestore|irq|bh|rcu)$/;

function bare(name: string): string {
  return name.replace(/^_+/, '').toLowerCase();
}

// ---- objects --------------------------------------------------------------------------------------

function pathMentionScore({ name, verb }: Mention, sort: EventSort): number {
  if (sort.kind === 'access') {
    const isOther =
      (verb === 'read' && sort.text.startsWith('write ')) ||
      (verb === 'write' && sort.text.startsWith('read '));
    if (isOther || (verb !== null && verb !== 'read' && verb !== 'write')) return NONE;
    return pathScore(name, sort.name);
  }
  if (!isStep(sort)) return NONE;
  const verbs: readonly Verb[] = verb === null ? ['read', 'write'] : [verb];
  if (!verbs.some((one) => verbFits(one, sort))) return NONE;
  return objectScore(name, sort) + 1;
}

function verbFits(verb: Verb | null, sort: EventSort): boolean {
  return verb !== null && OPERATIONS_OF[verb].test(nameOfOperation(sort.text));
}

function objectScore(wanted: string, sort: EventSort): number {
  const first = argumentsOf(sort.text)[0];
  return first === undefined ? NONE : pathScore(wanted, first);
}

/** Whether the event is done to something that is called so. */
export function touches(sort: EventSort, name: string): boolean {
  return isStep(sort) && argumentsOf(sort.text).some((path) => fieldsOf(path).includes(name));
}

/** How well what stands in brackets fits: 0 if it is the same, or nothing. */
function argsScore(args: string | null, text: string): number {
  if (args === null || args.trim() === '') return 0;
  const given = splitArguments(args);
  const known = argumentsOf(text);
  if (given.join(',') === known.join(',')) return 0;
  const [first = ''] = given;
  const best = Math.min(...known.map((one) => pathScore(first, one)));
  if (best === NONE) return ARGS_DIFFER;
  // Variables may be called otherwise; a number or a constant is what it is.
  const isOther = given.some((one, at) => at > 0 && LITERAL.test(one) && one !== known[at]);
  return best + (isOther ? 1.2 : 0.2);
}

const LITERAL = /^(?:-?\d\w*|[A-Z][A-Z\d_]+|true|false)$/;

/** What stands in the brackets of an operation, as paths. */
function argumentsOf(text: string): string[] {
  const match = /\((.*)\)/.exec(text);
  return match === null ? [] : splitArguments(match[1] as string);
}

function splitArguments(args: string): string[] {
  return args
    .replaceAll(/sizeof\((?:struct )?\*?([^()]*)\)/g, '$1')
    .split(',')
    .map((one) =>
      one
        .trim()
        .replace(/^[&*]+/, '')
        .replaceAll('->', '.'),
    )
    .filter((one) => one !== '');
}

/** How well two paths fit: by how many of their last fields are the same. */
function pathScore(wanted: string, path: string): number {
  if (wanted === path) return 0;
  const a = fieldsOf(wanted);
  const b = fieldsOf(path);
  let same = 0;
  while (same < a.length && same < b.length && a.at(-1 - same) === b.at(-1 - same)) same += 1;
  if (same === a.length && same === b.length) return 0;
  if (same > 1) return 0.5;
  if (same === 1) return 1;
  // `mn->hlist` is touched where `mn.hlist.next` is.
  const isPart = b.includes(a.at(-1) as string);
  if (!isPart) return NONE;
  return a.length === 1 ? 1.5 : 2;
}

/** The fields of a path, as they are called here. */
export function fieldsOf(path: string): string[] {
  return path
    .replace(/^[&*]+/, '')
    .split(/->|\./)
    .map((field) => (Object.hasOwn(LATER_FIELDS, field) ? (LATER_FIELDS[field] as string) : field));
}

// ---- readings -------------------------------------------------------------------------------------

/** The readings of one step, kept up to date with what is known of events. */
export class Meaning {
  readonly step: ClaimStep;
  /** For each sort of event the reading that it fits, or -1. */
  readonly readingOf: number[] = [];
  /** Those that fit best. */
  readings: Reading[] = [];
  private best = NONE;
  private readonly table: EventTable;
  private readonly scoreMax: number;

  /** @param scoreMax how badly an event may fit, for it fits better elsewhere. */
  constructor(step: ClaimStep, table: EventTable, scoreMax = Infinity) {
    this.step = step;
    this.table = table;
    this.scoreMax = scoreMax;
  }

  /**
   * Takes note of new sorts of events. True if one fits better than those known: then what was compared
   * before is to be compared again.
   */
  update(): boolean {
    let isBetter = false;
    for (let id = this.readingOf.length; id < this.table.sorts.length; id += 1) {
      const sort = this.table.sorts[id] as EventSort;
      const fit = scoreOf(this.step, sort);
      const score = fit > this.scoreMax ? NONE : fit;
      if (score < this.best) {
        isBetter ||= this.best < NONE;
        this.best = score;
        this.readings = [];
        this.readingOf.fill(-1);
      }
      this.readingOf.push(score === NONE || score > this.best ? -1 : this.readingAt(sort, score));
    }
    return isBetter;
  }

  private readingAt(sort: EventSort, score: number): number {
    const text = textOf(sort, this.step.mention);
    const known = this.readings.findIndex((reading) => reading.text === text);
    if (known >= 0) return known;
    this.readings.push({ text, score });
    return this.readings.length - 1;
  }
}

/**
 * How a reading is called. Returns that differ in their value are one reading, and so are accesses of
 * parts of what is named.
 */
function textOf(
  { kind, name, text }: EventSort,
  { kind: asked, name: wanted, verb }: Mention,
): string {
  if (kind === 'return') return `${name}() returns`;
  if (kind === 'enter') return `${name}() is called`;
  if (kind !== 'access' || asked !== 'path') return text;
  const field = fieldsOf(wanted).at(-1);
  const fields = name.split('.');
  const end = fields.map((one) => LATER_FIELDS[one] ?? one).lastIndexOf(field as string);
  const path = end < 0 ? name : fields.slice(0, end + 1).join('.');
  return `${verb ?? 'use'} ${path}`;
}

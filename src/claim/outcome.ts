/**
 * What a claim says that a step gives: `→ NULL`, `returns -ENOMEM`, `== 0`, `> 1`, `fails`.
 */
import { errnoNumber } from '../base/errno.ts';

/** How what was returned compares with a value; or whether it is what C takes for an error. */
type Relation = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'fails' | 'succeeds';

export interface Outcome {
  readonly relation: Relation;
  /** As in the claim; empty where the relation needs none. */
  readonly value: string;
  /** All of it, as in the claim. */
  readonly said: string;
}

const RELATION = /^\s*(→|->|=>|={1,3}|!==?|<=|>=|<(?!-)|>|returns|returned|gives|is(?= NULL\b))\s*/;
const VALUE =
  /^(?:-?E[A-Z]{2,}|-?\d+|0x[\da-f]+|NULL|true|false|ERR_PTR\([^)]*\)|&[\w.[\]]+)(?![\w(])/;
const WORDS: readonly (readonly [RegExp, Omit<Outcome, 'said'>])[] = [
  [/^\s*(?:fails|failed|has failed)(?!\w)/, { relation: 'fails', value: '' }],
  [/^\s*(?:succeeds|succeeded|has succeeded)(?!\w)/, { relation: 'succeeds', value: '' }],
  [/^\s*returns (?:an error|error)(?!\w)/, { relation: 'fails', value: '' }],
  [/^\s*returns non-?(?:zero|NULL)(?!\w)/, { relation: '!=', value: '0' }],
];

/**
 * The outcome that a text begins with, and how many characters say it; null if there is none. `outcome` is
 * null for addresses: they are the model's own, and objects are named by the steps.
 */
export function outcomeIn(
  text: string,
): { readonly outcome: Outcome | null; readonly length: number } | null {
  for (const [pattern, known] of WORDS) {
    const said = pattern.exec(text)?.[0];
    if (said !== undefined)
      return { outcome: { ...known, said: said.trim() }, length: said.length };
  }
  const match = RELATION.exec(text);
  if (match === null) return null;
  const value = VALUE.exec(text.slice(match[0].length))?.[0];
  if (value === undefined) return null;
  const { length } = match[0] + value;
  if (/^(?:0x|&)/.test(value)) return { outcome: null, length };
  const relation = relationOf(match[1] as string);
  return { outcome: { relation, value, said: text.slice(0, length).trim() }, length };
}

function relationOf(sign: string): Relation {
  if (sign.startsWith('!=')) return '!=';
  return sign === '<' || sign === '<=' || sign === '>' || sign === '>=' ? sign : '==';
}

/** Whether what was returned, as pictures show it, is what is claimed. */
export function isOutcome({ relation, value }: Outcome, shown: string): boolean {
  switch (relation) {
    case '==':
      return isSame(value, shown);
    case '!=':
      return !isSame(value, shown);
    case 'fails':
      return isFailure(shown);
    case 'succeeds':
      return !isFailure(shown);
    default:
      return isOrdered(relation, numberOf(shown), numberOf(value));
  }
}

/** C has no words for yes and no, and compares pointers with 0. */
function isSame(value: string, shown: string): boolean {
  if (value === shown) return true;
  const given = numberOf(value);
  return !Number.isNaN(given) && given === numberOf(shown);
}

function isFailure(shown: string): boolean {
  return shown === 'false' || shown === 'NULL' || /^(?:ERR_PTR\()?-/.test(shown);
}

function isOrdered(
  relation: Exclude<Relation, '==' | '!=' | 'fails' | 'succeeds'>,
  shown: number,
  value: number,
): boolean {
  if (relation === '<') return shown < value;
  if (relation === '<=') return shown <= value;
  return relation === '>' ? shown > value : shown >= value;
}

const NUMBERS: Readonly<Record<string, number>> = { true: 1, false: 0, NULL: 0 };

/** NaN for an object. */
function numberOf(text: string): number {
  if (Object.hasOwn(NUMBERS, text)) return NUMBERS[text] as number;
  return text.startsWith('-E') ? errnoNumber(text) : Number(text);
}

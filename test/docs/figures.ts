/** Figures of a variant as its scenario's page has them, where continuous integration compares them with a run. */
import { existsSync, readFileSync } from 'node:fs';
import { PAGES } from './scenario-page.ts';

export interface Figures {
  readonly executions: number;
  readonly isBounded: boolean;
  /** What was found, all of it, or the verdict; and which invariants that breaks. */
  readonly found: string;
  readonly isAsExpected: boolean;
  /** Of the first violation, shortened; null where there is none. */
  readonly preemptions: number | null;
  /** Up to where it shows. */
  readonly steps: number | null;
}

function numberIn(text: string, pattern: RegExp): number | null {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? null : Number(found.replaceAll(',', ''));
}

/** `use after free of page (breaks I8a)`; the verdict where nothing was found. */
function foundIn(text: string): string {
  const [, verdict = '', breaks] = /^\*\*(.+)\*\*(?: \(breaks (.+?)\))?/m.exec(text) ?? [];
  if (verdict.startsWith('No violation')) return 'clean';
  const [kind = '', ...titles] = verdict.split(': ');
  const found = /violation/i.test(kind) ? titles.join(': ') : kind.toLowerCase();
  return breaks === undefined ? found : `${found} (breaks ${breaks})`;
}

/** The number of the last line of the picture that has one. */
function stepsIn(text: string): number | null {
  const picture = /```text\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
  const numbers = [...picture.matchAll(/^ {0,3}(\d+) /gm)].map(([, step]) => Number(step));
  return numbers.length === 0 ? null : Math.max(...numbers);
}

/** Null for a scenario that has no page yet. */
export function figuresOf(scenario: string, variant: string): Figures | null {
  const url = new URL(`${scenario}.md`, PAGES);
  if (!existsSync(url)) return null;
  const sections = readFileSync(url, 'utf8').split(/^## /m);
  const text = sections.find((section) => section.startsWith(`${variant}\n`));
  if (text === undefined) return null;
  const isShown = /^Needs /m.test(text);
  return {
    executions: numberIn(text, /([\d,]+) executions?, [\d,]+ steps?/) ?? 0,
    found: foundIn(text),
    isAsExpected: /^\*\*.+, as expected\. /m.test(text),
    isBounded: /steps?, bounded\.$/m.test(text),
    preemptions: isShown ? (numberIn(text, /^Needs ([\d,]+) preemption/m) ?? 0) : null,
    steps: isShown ? stepsIn(text) : null,
  };
}

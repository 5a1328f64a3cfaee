/** Numbers as people read them, the same in every locale. */

/** 1234567 → `1,234,567`. */
export function thousands(value: number): string {
  return String(value).replaceAll(/\B(?=(?:\d{3})+$)/g, ',');
}

/** `1 execution`, `1,234 executions`. */
export function plural(count: number, noun: string): string {
  return `${thousands(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** `value` to so many significant digits: 4137 to two is 4100. */
export function rounded(value: number, digits: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  return Number(value.toPrecision(digits));
}

const NAMES = [
  { size: 1e12, name: 'trillion' },
  { size: 1e9, name: 'billion' },
  { size: 1e6, name: 'million' },
] as const;

/** About how many: `9`, `2,300`, `17 million`. */
export function roughly(value: number): string {
  if (value >= 1e15) return 'a thousand trillion';
  const short = rounded(Math.round(value), 2);
  for (const { size, name } of NAMES) {
    if (short >= size) return `${rounded(short / size, 2)} ${name}`;
  }
  return thousands(short);
}

/** A part of 1 as a percentage: `41%`, `3.2%`, `less than 0.1%`. */
export function percent(part: number): string {
  const value = part * 100;
  if (value === 0) return '0%';
  if (value < 0.1) return 'less than 0.1%';
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)}%`;
}

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, expect, test } from 'vitest';
import { perfetto } from '../../src/report/perfetto.ts';
import { startBrowser } from '../util/reader.ts';
import { sampleInput } from './sample-input.ts';

let browser: Browser | null = null;
afterAll(() => browser?.close());

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly id?: string;
  readonly cat?: string;
  readonly args?: { readonly step?: number; readonly value?: number };
}

const [text = ''] = perfetto.write(sampleInput());
const { traceEvents: events } = JSON.parse(text) as { traceEvents: readonly TraceEvent[] };

test('slices of a thread nest, and no two begin or end at the same time', () => {
  const tracks = new Map<string, { readonly ts: number; readonly end: number }[]>();
  for (const { ph, pid, tid, ts, dur = 0 } of events) {
    if (ph !== 'X') continue;
    const key = `${pid}.${tid}`;
    expect(dur).toBeGreaterThan(0);
    tracks.set(key, [...(tracks.get(key) ?? []), { ts, end: ts + dur }]);
  }
  expect(tracks.size).toBeGreaterThan(8);
  for (const track of tracks.values()) {
    const times = track.flatMap(({ ts, end }) => [ts, end].map((time) => Math.round(time * 1000)));
    expect(new Set(times).size).toBe(times.length);
    const open: number[] = [];
    for (const { ts, end } of track) {
      while ((open.at(-1) ?? Infinity) < ts) open.pop();
      expect(end).toBeLessThan(open.at(-1) ?? Infinity);
      open.push(end);
    }
  }
});

test('operations of an execution follow each other in the order of its steps', () => {
  const steps = events.filter(({ pid, args }) => pid === 1 && args?.step !== undefined);
  const inTime = steps.toSorted((a, b) => a.ts - b.ts).map(({ args }) => args?.step);
  expect(inTime).toEqual(inTime.map((_, at) => at + 1));
});

test('every lock that is taken is let go of, at the end if not before', () => {
  const held = new Map<string, number>();
  for (const { ph, id = '' } of events) {
    if (ph === 'b') held.set(id, (held.get(id) ?? 0) + 1);
    if (ph === 'e') held.set(id, (held.get(id) ?? 0) - 1);
  }
  expect(held.size).toBeGreaterThan(4);
  expect([...held.values()].every((count) => count === 0)).toBe(true);
});

test('values that are numbers are counters', () => {
  const opens = events.filter(
    ({ ph, pid, name }) => ph === 'C' && pid === 1 && name === 'toy_table.opens',
  );
  expect(opens.map(({ args }) => args?.value)).toEqual([0, 1, 0]);
});

test('speedscope opens the file, and finds nothing to mend', async (context) => {
  browser = await startBrowser(context);
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (/Tried to end|still open|Doing nothing/.test(message.text()))
      complaints.push(message.text());
  });
  page.on('dialog', (dialog) => {
    complaints.push(dialog.message());
    void dialog.dismiss();
  });
  const { resolve } = createRequire(import.meta.url);
  const folder = dirname(resolve('speedscope/package.json'));
  await page.goto(pathToFileURL(join(folder, 'dist/release/index.html')).href);
  const chosen = page.waitForEvent('filechooser');
  await page.locator('label', { hasText: 'Browse' }).click();
  const buffer = Buffer.from(text);
  await (await chosen).setFiles({ name: 'sample.json', mimeType: 'application/json', buffer });
  // The threads of all executions: a profile each.
  await page.getByText(/CPU0 \(open\).*\(1\/\d+\)/).waitFor();
  expect(complaints).toEqual([]);
});

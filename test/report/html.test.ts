import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { html } from '../../src/report/html.ts';
import { startBrowser } from '../util/reader.ts';
import { NASTY, NOTHING, sampleInput } from './sample-input.ts';

let browser: Browser | null = null;
let folder: string;
let address: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mmulab-html-'));
  const file = join(folder, 'a report.html');
  writeFileSync(file, html.write(sampleInput())[0] ?? '');
  address = pathToFileURL(file).href;
});

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

interface Opened {
  readonly page: Page;
  /** What the page asked of anything but itself, and what went wrong in it. */
  readonly complaints: readonly string[];
}

async function open(context: TestContext, hash = '', options: object = {}): Promise<Opened> {
  browser ??= await startBrowser(context);
  const page = await browser.newPage({ offline: true, ...options });
  const complaints: string[] = [];
  page.on('request', (request) => {
    if (request.url().split('#')[0] !== address) complaints.push(request.url());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => complaints.push(message.text()));
  await page.goto(address + hash);
  return { page, complaints };
}

function first(page: Page): {
  readonly status: Locator;
  readonly slider: Locator;
  readonly current: Locator;
  readonly button: (name: string) => Locator;
} {
  const section = page.locator('#e1');
  return {
    status: section.getByRole('status'),
    slider: section.getByRole('slider'),
    current: section.locator('[aria-current=step]'),
    button: (name) => section.getByRole('button', { name, exact: true }),
  };
}

test('the page opens from disk, without network, and asks nobody for anything', async (context) => {
  const { page, complaints } = await open(context);
  expect(await page.title()).toBe('mmulab report');
  expect(await page.getByRole('heading', { level: 2 }).count()).toBe(1 + 7);
  expect(complaints).toEqual([]);
});

test('buttons step back and forth, and stop at both ends', async (context) => {
  const { page } = await open(context);
  const { status, current, button } = first(page);
  expect(await status.textContent()).toBe(
    'Step 9 of 9, CPU1 (munmap): mutex_lock(&toy_process.lock). use after free of toy_process',
  );
  await button('Back').click();
  expect(await status.textContent()).toBe('Step 8 of 9, CPU0 (open): kfree(toy_process)');
  expect(await current.textContent()).toContain('kfree(toy_process) ← freed');
  await button('First').click();
  expect(await status.textContent()).toBe('Before the first step');
  expect(await current.count()).toBe(0);
  // It says that it is disabled, and is clicked all the same.
  await button('Back').click({ force: true });
  expect(await status.textContent()).toBe('Before the first step');
  await button('Forward').click();
  expect(await status.textContent()).toContain('Step 1 of 9');
  await button('Last').click();
  await button('Forward').click({ force: true });
  expect(await status.textContent()).toContain('Step 9 of 9');
});

test('all steps there and back are the steps of the execution', async (context) => {
  const { page } = await open(context, '#e1.0');
  const { status, button } = first(page);
  const walk = async (name: string): Promise<string[]> => {
    const seen: string[] = [];
    for (let count = 0; count < 9; count += 1) {
      seen.push((await status.textContent()) ?? '');
      await button(name).click();
    }
    return [...seen, (await status.textContent()) ?? ''];
  };
  const forth = await walk('Forward');
  const { recording } = sampleInput().variants[0]?.shown[0] ?? {};
  expect(
    forth.slice(1).map((text) => text.replace(/^.*?\): /, '').replace(/ → .*|\. .*/, '')),
  ).toEqual(recording?.steps.map(({ operation }) => operation.replace(/\. .*/, '')));
  expect(await walk('Back')).toEqual(forth.toReversed());
});

test('values and locks are those after the step', async (context) => {
  const { page } = await open(context, '#e1.1');
  const section = page.locator('#e1');
  const { button } = first(page);
  const row = (path: string): Locator => section.locator('table.values tr', { hasText: path });
  expect(await row('toy_table.opens').locator('td').textContent()).toBe('1 (changed)');
  expect(await section.locator('[data-part=held]').textContent()).toBe('none');
  await button('Forward').click();
  expect(await row('toy_table.opens').locator('td').textContent()).toBe('1');
  expect(await section.locator('[data-part=held]').textContent()).toBe(
    'toy_table.lock, by CPU0 (open)',
  );
  expect(await row('toy_table.size').count()).toBe(0);
  await section.getByLabel('also what never changes').check();
  expect(await row('toy_table.size').locator('td').textContent()).toBe('0');
});

test('everything can be reached and moved with the keyboard alone', async (context) => {
  const { page } = await open(context, '#e1.3');
  const { status, slider, button } = first(page);
  await button('First').focus();
  await page.keyboard.press('ArrowRight');
  expect(await status.textContent()).toContain('Step 4 of 9');
  await page.keyboard.press('End');
  expect(await status.textContent()).toContain('Step 9 of 9');
  // The slider is the fifth stop, and knows the keys itself.
  for (let count = 0; count < 4; count += 1) await page.keyboard.press('Tab');
  expect(await slider.evaluate((node) => node === node.ownerDocument.activeElement)).toBe(true);
  await page.keyboard.press('ArrowLeft');
  expect(await status.textContent()).toContain('Step 8 of 9');
  await page.keyboard.press('Home');
  expect(await status.textContent()).toBe('Before the first step');
  // Then what scrolls: the table, and the values behind the box that shows them all.
  await page.keyboard.press('Tab');
  const focused = page.locator(':focus');
  expect(await focused.getAttribute('aria-label')).toBe('Steps in columns, execution 1');
});

test('a screen reader is told where it is, in words', async (context) => {
  const { page } = await open(context, '#e1.2');
  const { slider } = first(page);
  expect(await slider.getAttribute('aria-valuetext')).toBe('step 2 of 9');
  const tree = await page.locator('#e1').ariaSnapshot();
  expect(tree).toContain('group "Move through the steps, execution 1"');
  expect(tree).toContain('slider "Step": "2"');
  expect(tree).toContain('status: "Step 2 of 9, CPU0 (open): mutex_lock(&toy_table.lock)"');
  expect(tree).toContain('columnheader "CPU1 (munmap)"');
  expect(tree).toContain('rowheader "2"');
});

/** What axe-core, a checker of accessibility, objects to. */
async function objections(page: Page): Promise<string[]> {
  const path = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
  await page.evaluate(readFileSync(path, 'utf8'));
  const violations = await page.evaluate('axe.run().then((result) => result.violations)');
  return (
    violations as { id: string; nodes: { html: string; failureSummary: string }[] }[]
  ).flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
}

test('a checker of accessibility objects to nothing, in the light and in the dark', async (context) => {
  for (const colorScheme of ['light', 'dark']) {
    const { page } = await open(context, '#e1.5', { colorScheme, bypassCSP: true });
    expect(await objections(page)).toEqual([]);
  }
});

test('a click on a row or on the time line goes there, and the address remembers', async (context) => {
  const { page } = await open(context);
  const { status } = first(page);
  await page.locator('#e1 tr[data-step="5"]').click();
  expect(await status.textContent()).toContain('Step 5 of 9');
  await page.locator('#e1 rect[data-step="7"]').click();
  expect(await status.textContent()).toContain('Step 7 of 9');
  expect(page.url()).toBe(`${address}#e1.7`);
  await page.reload();
  expect(await status.textContent()).toContain('Step 7 of 9');
});

test('without scripts the page still has every step and every story', async (context) => {
  const { page, complaints } = await open(context, '', { javaScriptEnabled: false });
  const text = await page.locator('#e1').innerText();
  expect(text).toContain('mutex_lock(&toy_process.lock)');
  expect(text).toContain('BUG: use after free of toy_process');
  expect(text).toMatch(/npx mmulab replay mn1_/);
  expect(await page.locator('#e1').getByRole('button').count()).toBe(0);
  expect(complaints).toEqual([]);
});

test('names of others are text and nothing else', async (context) => {
  const { page, complaints } = await open(context);
  const heading = page.getByRole('heading', { level: 2, name: 'nasty' });
  expect(await heading.textContent()).toContain(NASTY);
  expect(await page.locator('b').count()).toBe(0);
  expect(complaints).toEqual([]);
});

test('a report of nothing is a page as well', () => {
  expect(html.write(NOTHING)[0]).toContain('0 variants');
});

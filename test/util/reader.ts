/**
 * Programs of others that read what reporters write. Some are too big for everybody's `npm ci`: those of
 * test/reader, and a browser. Where one is missing its tests are skipped and say what to install; with
 * `MMULAB_DEMAND_READERS=1`, as in continuous integration, they fail.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { chromium } from 'playwright-core';
import type { TestContext } from 'vitest';

const isDemanded = process.env['MMULAB_DEMAND_READERS'] === '1';
const folder = new URL('../reader/', import.meta.url);
const load = createRequire(new URL('package.json', folder));

function missing(context: TestContext, what: string): never {
  if (isDemanded) throw new Error(`missing: ${what}`);
  context.skip(`needs ${what}`);
}

/** The path of a file of test/reader's packages. */
export function readerPath(context: TestContext, file: string): string {
  const path = fileURLToPath(new URL(`node_modules/${file}`, folder));
  if (!existsSync(path)) missing(context, 'npm ci --prefix test/reader');
  return path;
}

/** A module of test/reader's packages. */
export function loadReader(context: TestContext, file: string): unknown {
  return load(readerPath(context, file));
}

const BROWSERS = [
  process.env['MMULAB_CHROMIUM'] ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const OPTIONS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

/** Starts a browser. Whoever calls it closes it. */
export async function startBrowser(context: TestContext): Promise<Browser> {
  const executablePath = BROWSERS.find((path) => path !== '' && existsSync(path));
  if (executablePath === undefined) {
    missing(context, 'Chromium or Chrome (MMULAB_CHROMIUM=PATH if it is elsewhere)');
  }
  return chromium.launch({ executablePath, headless: true, args: OPTIONS });
}

import { afterAll, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { mermaid } from '../../src/report/mermaid.ts';
import { readerPath, startBrowser } from '../util/reader.ts';
import { NASTY, sampleInput } from './sample-input.ts';

let browser: Browser | null = null;
afterAll(() => browser?.close());

/** What Mermaid offers in a page. */
interface Api {
  initialize(options: object): void;
  parse(text: string): Promise<{ readonly diagramType: string }>;
  render(id: string, text: string): Promise<{ readonly svg: string }>;
}

/** Of the page, as far as it is asked. */
interface Body {
  innerHTML: string;
  readonly innerText: string;
  querySelectorAll(selector: string): { readonly length: number };
}

test('a step is a message, a call a note, what is wrong a red box', () => {
  const [text = ''] = mermaid.write(sampleInput());
  expect(text.split('\n').slice(3, 12)).toMatchInlineSnapshot(`
    [
      "sequenceDiagram",
      "  %% replay: npx mmulab replay mn1_BTAuMS4wDnRveS11bnJlZ2lzdGVyBmJlZm9yZQSAAQEgATh7if8",
      "  participant t0 as CPU0 (open)",
      "  participant t1 as CPU1 (munmap)",
      "  Note over t0: toy_open(&toy_table)",
      "  t0->>t0: 1. atomic_inc(&toy_table.opens)",
      "  t0->>t0: 2. mutex_lock(&toy_table.lock)",
      "  Note over t0: toy_create(&toy_table)",
      "  t0->>t0: 3. kzalloc(sizeof(struct toy_process), GFP_KERNEL) → 0x881000000000",
    ]
  `);
  expect(text).toContain('rect rgb(255, 214, 214)\n    t1->>t1: 9. mutex_lock(');
});

test('Mermaid draws every diagram, with all its texts', async (context) => {
  const script = readerPath(context, 'mermaid/dist/mermaid.min.js');
  browser = await startBrowser(context);
  const page = await browser.newPage();
  await page.setContent('<!doctype html><body></body>');
  await page.addScriptTag({ path: script });
  for (const [at, text] of mermaid.write(sampleInput()).entries()) {
    const drawn = await page.evaluate(
      async ([source, id]) => {
        const api = (globalThis as unknown as { mermaid: Api }).mermaid;
        api.initialize({ startOnLoad: false, maxTextSize: 1_000_000 });
        const { diagramType } = await api.parse(source);
        const { svg } = await api.render(id, source);
        const { body } = (globalThis as unknown as { document: { body: Body } }).document;
        body.innerHTML = svg;
        return {
          diagramType,
          messages: body.querySelectorAll('.messageText').length,
          text: body.innerText.replaceAll('\u00A0', ' '),
        };
      },
      [text, `d${at}`] as const,
    );
    expect(drawn.diagramType).toBe('sequence');
    expect(drawn.messages).toBe(text.match(/->>/g)?.length);
    if (text.includes('nasty')) expect(drawn.text).toContain(NASTY.slice(0, 20));
  }
});

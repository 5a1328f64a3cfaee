import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig } from 'vitest/config';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

export default defineConfig({
  resolve: {
    // A driver of one's own, made by `mmulab init` inside the clone, imports the package by name.
    alias: [
      { find: /^mmulab$/, replacement: path('dist/index.js') },
      { find: /^mmulab\/vitest$/, replacement: path('dist/cli/vitest.js') },
    ],
  },
  test: {
    // `npm test` runs what is in test/; `npx vitest run name.test.ts` also finds one's own.
    include: ['**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'dist/**'],
    // The package itself is taken as Node takes it, not transformed.
    server: { deps: { external: [/\/dist\//] } },
    // Pages check what all their tables say; alone the longest takes a third of it.
    testTimeout: 300_000,
    // By default one less than there are cores, which on two means one.
    maxWorkers: 2,
  },
});

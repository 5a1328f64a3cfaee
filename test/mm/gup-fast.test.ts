/** Pages that are taken without mmap_sem: those that are there, as far as the access may go. */
import { expect, test } from 'vitest';
import { PROT_READ } from '../../src/base/mman.ts';
import { getUserPagesFastOnly } from '../../src/mm/gup-fast.ts';
import { putUserPage } from '../../src/mm/gup.ts';
import { PAGE_SIZE } from '../../src/mm/vma.ts';
import { runOnMachine } from '../util/machine.ts';

const ADDRESS = 0x40_0000;

test('it stops at the first page that is not there, or that the access may not reach', () => {
  const { findings } = runOnMachine((machine) => {
    const process = machine.process();
    return [
      function* user() {
        const mm = process.mm!;
        yield* process.mmap(ADDRESS, 3 * PAGE_SIZE);
        yield* process.store(ADDRESS, 1);
        yield* process.store(ADDRESS + 2 * PAGE_SIZE, 1);
        const first = yield* getUserPagesFastOnly(mm, ADDRESS, 3, true);
        expect(first.map(({ refCount }) => refCount.value)).toEqual([2]);
        expect(yield* getUserPagesFastOnly(mm, ADDRESS + PAGE_SIZE, 1, false)).toEqual([]);
        yield* process.mprotect(ADDRESS, PAGE_SIZE, PROT_READ);
        expect(yield* getUserPagesFastOnly(mm, ADDRESS, 1, true)).toEqual([]);
        const again = yield* getUserPagesFastOnly(mm, ADDRESS, 1, false);
        expect(again).toEqual(first);
        for (const page of [...first, ...again]) yield* putUserPage(page);
        yield* process.exit();
      },
    ];
  });
  expect(findings).toEqual([]);
});

import { expect, test } from 'vitest';
import { runDirect } from '../../src/kernel/direct.ts';
import { dataRace, dataRaceWrite, readOnce, writeOnce } from '../../src/kernel/field.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { struct } from '../../src/kernel/struct.ts';

const Thing = struct('thing', { value: 0 });

test('reads and writes of one field that are marked alike are different operations', () => {
  const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
  const thing = allocateStatic(kernel, Thing);
  expect(runDirect(kernel, dataRace(thing, 'value'))).toBe(0);
  runDirect(kernel, dataRaceWrite(thing, 'value', 1));
  expect(runDirect(kernel, dataRace(thing, 'value'))).toBe(1);
  runDirect(kernel, writeOnce(thing, 'value', 2));
  expect(runDirect(kernel, readOnce(thing, 'value'))).toBe(2);
});

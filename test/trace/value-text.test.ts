import { describe, expect, test } from 'vitest';
import { ULONG_MAX } from '../../src/base/ulong.ts';
import { errPtr } from '../../src/kernel/err-ptr.ts';
import { GFP_KERNEL } from '../../src/kernel/gfp.ts';
import { Kernel, NO_FAULTS } from '../../src/kernel/kernel.ts';
import { allocateStatic } from '../../src/kernel/slab.ts';
import { argumentsText, resultText, returnedText } from '../../src/trace/value-text.ts';
import { Table } from './sample.ts';

const kernel = new Kernel({ budget: NO_FAULTS, watches: [], tracer: null });
const table = allocateStatic(kernel, Table);

describe('what a function returns', () => {
  test('nothing is shown for nothing', () => expect(returnedText(undefined)).toBeNull());

  test('negative error numbers have names and are errors', () => {
    expect(returnedText(-12)).toEqual({ text: '-ENOMEM', isError: true });
  });

  test('other negative numbers are numbers', () => {
    expect(returnedText(-4000)).toEqual({ text: '-4000', isError: false });
  });

  test('an ERR_PTR is an error, and looking at it does not use it', () => {
    expect(returnedText(errPtr(-22))).toEqual({ text: 'ERR_PTR(-EINVAL)', isError: true });
  });

  test('NULL is no error', () => {
    expect(returnedText(null)).toEqual({ text: 'NULL', isError: false });
  });

  test('small numbers are decimal, large ones are addresses', () => {
    expect(returnedText(4096)?.text).toBe('4096');
    expect(returnedText(0x40_0000)?.text).toBe('0x400000');
    expect(returnedText(ULONG_MAX)?.text).toBe('ULONG_MAX');
  });

  test('an object is its name and address, a part of it its path', () => {
    expect(returnedText(table)?.text).toBe('toy_table@0x800000000000');
    expect(returnedText(table.other)?.text).toBe('&toy_table.other');
  });

  test('a value that means nothing outside is not shown', () => {
    expect(returnedText({ some: 'thing' })).toBeNull();
  });
});

describe('what an operation returns', () => {
  test('a failed allocation is an error', () => {
    expect(resultText(null, 'kzalloc(sizeof(struct gru), GFP_KERNEL)')?.isError).toBe(true);
    expect(resultText(null, 'rcu_dereference(gru.mm)')?.isError).toBe(false);
  });

  test('a counter below zero is no error number', () => {
    expect(resultText(-1, 'atomic_fetch_add(gru.refs)')).toEqual({ text: '-1', isError: false });
    expect(resultText(-1, 'mutex_lock_killable(&gru.lock)')?.text).toBe('-EPERM');
  });

  test('what returns nothing in the kernel has no result', () => {
    expect(resultText(0, 'atomic_inc(gru.refs)')).toBeNull();
    expect(resultText(0, 'refcount_set(gru.refs, 1)')).toBeNull();
    expect(resultText(0, 'spin_lock(&gru.lock)')).toBeNull();
    expect(resultText(true, 'spin_trylock(&gru.lock)')?.text).toBe('true');
    expect(resultText(0, 'atomic_read(gru.refs)')?.text).toBe('0');
  });
});

describe('arguments', () => {
  test('objects are pointers, texts are quoted, the rest is itself', () => {
    expect(argumentsText([table.lock, '/dev/kfd', GFP_KERNEL, true, null])).toBe(
      '&toy_table.lock, "/dev/kfd", 3, true, NULL',
    );
  });

  test('what cannot be shown is left out', () => {
    expect(argumentsText([{}, 1])).toBe('1');
    expect(argumentsText([{}, {}])).toBe('');
    expect(argumentsText([])).toBe('');
  });
});

import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeBase64url, encodeBase64url } from '../../src/base/base64url.ts';

test('encodes as Node does', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(encodeBase64url(bytes)).toBe(Buffer.from(bytes).toString('base64url'));
    }),
  );
});

test('reads back what it wrote', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(decodeBase64url(encodeBase64url(bytes))).toEqual(bytes);
    }),
  );
});

test('names the first letter that does not belong', () => {
  expect(decodeBase64url('AB+D')).toEqual({ position: 2, problem: 'letter' });
});

test('refuses a length that no bytes have', () => {
  expect(decodeBase64url('ABCDE')).toEqual({ position: 5, problem: 'length' });
});

test('refuses a last letter with unused bits set, so that each text is the only one of its bytes', () => {
  expect(decodeBase64url('AA')).toEqual(Uint8Array.of(0));
  expect(decodeBase64url('AB')).toEqual({ position: 1, problem: 'last letter' });
});

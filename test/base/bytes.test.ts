import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader, ByteWriter, crc32, MalformedBytes } from '../../src/base/bytes.ts';

function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter();
  write(writer);
  return writer.finish();
}

test('integers up to 2^53 - 1 are read back', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      expect(new ByteReader(written((to) => to.integer(value))).integer()).toBe(value);
    }),
  );
});

test('small integers take one byte', () => {
  expect(written((to) => to.integer(127))).toEqual(Uint8Array.of(127));
  expect(written((to) => to.integer(128))).toEqual(Uint8Array.of(0x80, 1));
});

test('an integer with superfluous bytes is refused', () => {
  expect(() => new ByteReader(Uint8Array.of(0x81, 0)).integer()).toThrow(MalformedBytes);
});

test('an integer that goes on for ever is refused', () => {
  expect(() => new ByteReader(new Uint8Array(40).fill(0xff)).integer()).toThrow(MalformedBytes);
});

test('texts of any script are read back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(new ByteReader(written((to) => to.text(text))).text()).toBe(text);
    }),
  );
});

test('an unpaired surrogate becomes the replacement character', () => {
  expect(new ByteReader(written((to) => to.text('a\uD800b'))).text()).toBe('a\uFFFDb');
});

test('a text that is longer than what is left is refused', () => {
  expect(() => new ByteReader(Uint8Array.of(5, 97)).text()).toThrow(MalformedBytes);
});

test('bytes that are not UTF-8 are refused', () => {
  expect(() => new ByteReader(Uint8Array.of(1, 0xff)).text()).toThrow(MalformedBytes);
});

test('the checksum is the CRC-32 that zip and Ethernet use', () => {
  expect(crc32(Buffer.from('123456789'))).toBe(0xcbf4_3926);
});

test('what follows the checksum is not read', () => {
  const reader = new ByteReader(
    written((to) => {
      to.integer(7);
      to.checksum();
    }),
  );
  reader.checksum();
  expect(reader.integer()).toBe(7);
  expect(reader.isAtEnd).toBe(true);
});

/**
 * Small messages as bytes: variable-length integers (7 bits a byte, the low ones first), texts in
 * UTF-8 behind their length, and a checksum.
 */
import { assert } from './assert.ts';

export class ByteWriter {
  private readonly bytes: number[] = [];

  /** An integer from 0 to 2^53 - 1. */
  integer(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `${value} cannot be written`);
    let rest = value;
    while (rest >= 0x80) {
      this.bytes.push((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.bytes.push(rest);
  }

  /** One byte, from 0 to 255. */
  byte(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value < 256, `${value} is no byte`);
    this.bytes.push(value);
  }

  /** Unpaired surrogates become U+FFFD. */
  text(value: string): void {
    const bytes = utf8(value);
    this.integer(bytes.length);
    this.bytes.push(...bytes);
  }

  /** Four bytes, the high one first. */
  checksum(): void {
    const sum = crc32(this.bytes);
    for (const shift of [24, 16, 8, 0]) this.bytes.push((sum >>> shift) & 0xff);
  }

  finish(): Uint8Array {
    return Uint8Array.from(this.bytes);
  }
}

/** The bytes are not what a {@link ByteWriter} wrote. */
export class MalformedBytes extends Error {
  override readonly name = 'MalformedBytes';
}

export class ByteReader {
  private readonly bytes: Uint8Array;
  private at = 0;
  private end: number;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.end = bytes.length;
  }

  /** Checks the last four bytes and leaves them out of what follows. */
  checksum(): void {
    const end = this.end - 4;
    if (end < 0) throw new MalformedBytes('too short');
    let expected = 0;
    for (let at = end; at < this.end; at += 1) {
      expected = ((expected << 8) | (this.bytes[at] as number)) >>> 0;
    }
    if (crc32(this.bytes.subarray(0, end)) !== expected) throw new MalformedBytes('checksum');
    this.end = end;
  }

  get isAtEnd(): boolean {
    return this.at === this.end;
  }

  integer(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (!Number.isSafeInteger(value)) throw new MalformedBytes('integer too large');
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw new MalformedBytes('integer with leading zeros');
        return value;
      }
    }
  }

  text(): string {
    const length = this.integer();
    if (length > this.end - this.at) throw new MalformedBytes('text beyond the end');
    const bytes = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    const escaped = Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, '0')}`);
    try {
      return decodeURIComponent(escaped.join(''));
    } catch {
      throw new MalformedBytes('text is not UTF-8');
    }
  }

  /** One byte, from 0 to 255. */
  byte(): number {
    if (this.at >= this.end) throw new MalformedBytes('beyond the end');
    return this.bytes[this.at++] as number;
  }
}

function utf8(text: string): number[] {
  // A text with unpaired surrogates has no UTF-8.
  const escaped = encodeURIComponent(text.replaceAll(/\p{Cs}/gu, '\uFFFD'));
  const units = escaped.match(/%[0-9A-F]{2}|[^%]/g) ?? [];
  return units.map((unit) =>
    unit.length === 3 ? Number.parseInt(unit.slice(1), 16) : unit.charCodeAt(0),
  );
}

/** CRC-32 (IEEE 802.3): finds every error that lies within 32 neighbouring bits. */
export function crc32(bytes: Iterable<number>): number {
  let sum = 0xffff_ffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) {
      sum = (sum & 1) === 0 ? sum >>> 1 : (sum >>> 1) ^ 0xedb8_8320;
    }
  }
  return (sum ^ 0xffff_ffff) >>> 0;
}

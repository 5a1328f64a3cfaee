/**
 * base64url without padding (RFC 4648 §5): bytes as letters, digits, `-` and `_`, which no shell and
 * no address line changes. Only canonical texts are read: unused bits of the last letter are zero.
 */
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

const VALUES: ReadonlyMap<string, number> = new Map(
  Array.from(ALPHABET, (letter, value) => [letter, value]),
);

/** Bytes → text of 4 letters for each 3 bytes. */
export function encodeBase64url(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let bitCount = 0;
  for (const byte of bytes) {
    bits = (bits << 8) | byte;
    bitCount += 8;
    while (bitCount >= 6) {
      bitCount -= 6;
      text += ALPHABET[(bits >>> bitCount) & 63] as string;
    }
    bits &= (1 << bitCount) - 1;
  }
  return bitCount === 0 ? text : text + (ALPHABET[(bits << (6 - bitCount)) & 63] as string);
}

/** Why a text is not base64url, and where. */
export interface Base64urlError {
  readonly position: number;
  readonly problem: 'letter' | 'length' | 'last letter';
}

/** Text → bytes, or what is wrong with it. */
export function decodeBase64url(text: string): Uint8Array | Base64urlError {
  if (text.length % 4 === 1) return { position: text.length, problem: 'length' };
  const bytes = new Uint8Array(Math.floor((text.length * 6) / 8));
  let bits = 0;
  let bitCount = 0;
  let count = 0;
  for (let position = 0; position < text.length; position += 1) {
    const value = VALUES.get(text[position] as string);
    if (value === undefined) return { position, problem: 'letter' };
    bits = (bits << 6) | value;
    bitCount += 6;
    if (bitCount < 8) continue;
    bitCount -= 8;
    bytes[count++] = bits >>> bitCount;
    bits &= (1 << bitCount) - 1;
  }
  return bits === 0 ? bytes : { position: text.length - 1, problem: 'last letter' };
}

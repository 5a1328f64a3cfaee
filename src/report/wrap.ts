/** Breaking long texts into lines. Widths are in letters; every letter is taken to be one wide. */

/**
 * Where a line may end, best first: before an arrow, after a comma, after `(`, at a space, after a
 * dot, within a name.
 */
const BREAKS = [/ (?=→)/g, /, /g, /\((?=[^)])/g, / /g, /[.:](?=\S)/g, /_(?=[^_(])/g] as const;

/** Less than this is no line. */
const LINE_WIDTH_MIN = 8;

/**
 * Breaks `text` into lines of at most `width` letters. All but the first begin with `indent` spaces. A
 * word that is too long for a line is cut.
 */
export function wrap(text: string, width: number, indent = 4): string[] {
  const lines: string[] = [];
  const first = Math.max(width, LINE_WIDTH_MIN);
  const others = Math.max(width - indent, LINE_WIDTH_MIN);
  let rest = text;
  for (let room = first; rest.length > room; room = others) {
    const at = breakBefore(rest, room);
    lines.push(rest.slice(0, at).trimEnd());
    rest = rest.slice(at).trimStart();
  }
  lines.push(rest);
  return lines.map((line, index) => (index === 0 ? line : ' '.repeat(indent) + line));
}

/** The last good place to break within the first `room` letters. */
function breakBefore(text: string, room: number): number {
  for (const pattern of BREAKS) {
    let best = 0;
    for (const match of text.matchAll(pattern)) {
      const at = match.index + match[0].length;
      if (match.index + match[0].trimEnd().length <= room) best = at;
    }
    // A break near the beginning leaves most of the line empty.
    if (best >= room / 3) return best;
  }
  return room;
}

/** How texts are emphasised: by escape codes of a terminal, by HTML, or, as here, not at all. */
export interface Style {
  /** Headlines and what the reader must not miss. */
  bold(text: string): string;
  /** What went wrong. */
  red(text: string): string;
  /** What is well. */
  green(text: string): string;
  /** What can be passed over: numbers, places, underlines. */
  dim(text: string): string;
}

const same = (text: string): string => text;

export const PLAIN: Style = { bold: same, red: same, green: same, dim: same };

/** The style of a terminal with colours; whether there is one is decided in output.ts. */
import { styleText } from 'node:util';
import type { Style } from '../report/style.ts';

const FORCED = { validateStream: false } as const;

export const TERMINAL: Style = {
  bold: (text) => styleText('bold', text, FORCED),
  red: (text) => styleText('red', text, FORCED),
  green: (text) => styleText('green', text, FORCED),
  dim: (text) => styleText('dim', text, FORCED),
};

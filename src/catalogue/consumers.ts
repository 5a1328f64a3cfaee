/** The fourteen consumers that the series' cover letter is about: those that it converts, and those that it leaves. */
import type { Consumer } from './consumer.ts';

export const CONSUMERS: readonly Consumer[] = [];

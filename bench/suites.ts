/** All suites, in the order of the report. To add one, write it in a file of its own and name it here. */
import { catalogue } from './catalogue.ts';
import { exploring } from './exploring.ts';
import { mm } from './mm/suite.ts';
import { peers } from './peers.ts';
import type { Suite } from './suite.ts';
import { workersSuite } from './workers.ts';

export const SUITES: readonly Suite[] = [exploring, peers, mm, catalogue, workersSuite];

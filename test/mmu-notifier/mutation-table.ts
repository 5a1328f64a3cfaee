/** What the core is mutated by: each entry takes one safeguard out. */
import { GET_PUT_MUTATIONS } from './mutation-get-put.ts';
import { INTERVAL_MUTATIONS } from './mutation-interval.ts';
import { LIST_MUTATIONS } from './mutation-list.ts';
import type { Mutation } from './mutant.ts';

export const MUTATIONS: readonly Mutation[] = [
  ...GET_PUT_MUTATIONS,
  ...LIST_MUTATIONS,
  ...INTERVAL_MUTATIONS,
];

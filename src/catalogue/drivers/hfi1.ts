/** hfi1: its scenarios, and what it is as a consumer of notifiers. */
import type { Consumer } from '../consumer.ts';
import {
  hfi1Close,
  hfi1CloseBusy,
  hfi1CloseTid,
  hfi1Dropped,
  hfi1Inherited,
  hfi1LookUp,
  hfi1Reaper,
  hfi1SetupRace,
  hfi1Stale,
  hfi1WrongMm,
} from './hfi1-bugs.ts';
import { hfi1Evict, hfi1EvictMunmap } from './hfi1-evict.ts';
import { hfi1CoverReaper, hfi1NoContext, hfi1Pairs, hfi1Triples, hfi1Use } from './hfi1-pairs.ts';

/** What `list` and the table of consumers say of hfi1. */
export const HFI1: Consumer = {
  name: 'hfi1',
  object:
    'mmu_rb_handler, one for TIDs and one for SDMA of each file; from v5.5 on tid_rb_node for TIDs',
  key: 'none: the file; nodes by an interval tree',
  locks: 'mmu_rb_handler.lock, invalid_lock; from v5.5 on invalidate_mutex, cover_mutex',
  callbacks: ['invalidate_range_start'],
  teardown: 'unregister when the file is released; TIDs from v5.5 on: remove with the TID',
  versions: ['unpinned', 'v5.3', 'v5.10', 'v5.18', 'v6.2', 'v6.5', 'fixed'],
  // Only a scenario's own file knows its state.
  scenarios: [
    hfi1Inherited,
    hfi1WrongMm,
    hfi1Close,
    hfi1CloseTid,
    hfi1SetupRace,
    hfi1Dropped,
    hfi1Stale,
    hfi1CloseBusy,
    hfi1LookUp,
    hfi1Evict,
    hfi1EvictMunmap,
    hfi1Reaper,
    hfi1CoverReaper,
    hfi1NoContext,
    hfi1Use,
    hfi1Pairs,
    hfi1Triples,
  ] as unknown as Consumer['scenarios'],
};

/**
 * A helper: explores what the leader gives it (thread-team.ts), until it is ended. Everything it finds it
 * tells with how far it is; errors of the scenario it leaves to the leader, who meets them too.
 */
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { programOf, type AnyScenario } from '../check/scenario.ts';
import type { CheckOptions } from '../check/check-variant.ts';
import { Search } from '../check/search.ts';
import { Helper, type FromHelper } from '../check/team.ts';
import { assert } from '../base/assert.ts';
import { Counters } from './counters.ts';
import { findNamedScenario } from './find-scenario.ts';
import { Lookout } from './lookout.ts';
import type { Target } from './protocol.ts';
import {
  ring,
  type FromThread,
  type HelperInput,
  type RoundOrder,
  type ToThread,
} from './thread-team.ts';

const { port, counters: buffer, bells: shared, number } = workerData as HelperInput;
const counters = new Counters(buffer);
const lookout = new Lookout(counters);
const bells = new Int32Array(shared);
const IDLE_MS = 100;

let heard = 0;
let helper: Helper | null = null;
let round = 0;

function post(message: FromThread): void {
  port.postMessage(message);
  ring(bells, 0);
}

async function scenarioOf(target: Target, name: string): Promise<AnyScenario> {
  if (target.kind !== 'file') return findNamedScenario(name);
  const { loadScenarios } = await import('./load-file.ts');
  const found = (await loadScenarios(target.path)).find((one) => one.name === name);
  assert(found !== undefined, `${target.path} has ${name}, which the leader found in it`);
  return found;
}

async function begin(order: RoundOrder): Promise<void> {
  ({ round } = order);
  const { scenario: name, variant, stepCountMax, doesBail, visibleMemory } = order;
  const watched = lookout.watch(await scenarioOf(order.target, name));
  const options: CheckOptions = {
    bail: doesBail,
    ...(stepCountMax === null ? {} : { stepCountMax }),
  };
  const search = new Search(() => programOf(watched, variant), options);
  search.see(visibleMemory);
  let told = '';
  const send = (message: FromHelper): void => {
    if (message.kind !== 'progress') {
      post({ kind: 'said', round: order.round, message, summary: null });
      return;
    }
    const summary = search.summary();
    const text = JSON.stringify(summary);
    post({ kind: 'said', round: order.round, message, summary: text === told ? null : summary });
    told = text;
  };
  const made = new Helper(search.program, search.exploreOptions(), send, hasMessage);
  search.setSchedule(() => made.schedule);
  helper = made;
  post({ kind: 'ready', round });
}

function hasMessage(): boolean {
  return Atomics.load(bells, number) !== heard;
}

async function listen(): Promise<void> {
  heard = Atomics.load(bells, number);
  for (;;) {
    const got = receiveMessageOnPort(port) as { message: ToThread } | undefined;
    if (got === undefined) return;
    const { message } = got;
    if (message.kind === 'round') {
      helper = null;
      await begin(message);
    } else helper?.hear(message.message);
  }
}

for (;;) {
  try {
    await listen();
    const present = helper as Helper | null;
    if (present?.isBusy === true) present.work();
    else Atomics.wait(bells, number, heard, IDLE_MS);
  } catch {
    helper = null;
    post({ kind: 'failed', round });
  }
  counters.beat();
}
